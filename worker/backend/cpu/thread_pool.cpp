#include "worker/backend/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "monitoring/check.h"

namespace leadline::worker::cpu {

namespace {

constexpr int kSpins =
    20000;  // pauses of 20 to 140 cycles: some 200 us, longer than the gaps between the ops of a step

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

bool pin(pthread_t thread, int core) {  // only a hint: failing is harmless
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

}  // namespace

ThreadPool::ThreadPool(const ThreadPoolOptions& options)
    : threads_(options.threads), spins_(options.may_spin ? kSpins : 0) {
  LEADLINE_CHECK(threads_ >= 1 && threads_ <= 256, "threads out of range");
  if (threads_ > 1 && !options.cores.empty()) owner_core_ = options.cores[0];
  shares_ = std::make_unique<ShareLeft[]>(static_cast<std::size_t>(threads_));
  for (int t = 1; t < threads_; ++t) {
    workers_.emplace_back([this, t] { work(t); });
    const auto place = static_cast<std::size_t>(t);
    if (place < options.cores.size()) (void)pin(workers_.back().native_handle(), options.cores[place]);
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  call_.fetch_add(1, std::memory_order_release);
  call_.notify_all();
  for (std::thread& w : workers_) w.join();
}

void ThreadPool::hold_owner() {
  if (owner_core_ < 0 || held_) return;
  const pthread_t self = pthread_self();
  held_ = pthread_getaffinity_np(self, sizeof owner_was_, &owner_was_) == 0 && pin(self, owner_core_);
}

void ThreadPool::release_owner() {
  if (!held_) return;
  held_ = false;
  (void)pthread_setaffinity_np(pthread_self(), sizeof owner_was_, &owner_was_);
}

void ThreadPool::run_shares(Share share, void* context) {
  share_ = share;
  context_ = context;
  busy_.store(threads_ - 1, std::memory_order_relaxed);
  call_.fetch_add(1, std::memory_order_release);
  call_.notify_all();
  share(context, 0);
  for (int spin = 0; spin < spins_; ++spin) {
    if (busy_.load(std::memory_order_acquire) == 0) return;
    pause_core();
  }
  for (std::int32_t left; (left = busy_.load(std::memory_order_acquire)) != 0;)
    busy_.wait(left, std::memory_order_acquire);
}

std::uint32_t ThreadPool::wait_for_call(std::uint32_t seen) const {
  for (int spin = 0; spin < spins_; ++spin) {
    const std::uint32_t now = call_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause_core();
  }
  call_.wait(seen, std::memory_order_acquire);
  return call_.load(std::memory_order_acquire);
}

void ThreadPool::work(int thread) {
  for (std::uint32_t seen = 0;;) {
    seen = wait_for_call(seen);
    if (stop_) return;
    share_(context_, thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

}  // namespace leadline::worker::cpu
