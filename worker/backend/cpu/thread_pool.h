#pragma once
// ThreadPool: a fixed set of threads that run one kernel at a time, each its own static share. Not a task
// queue: no stealing, so who computes what depends on the counts alone. Passed, never global. Thread: one
// owner calls run(); it computes share 0 itself. Between calls workers spin for a moment, then sleep in a
// futex, so an idle pool uses no CPU. With more threads than cores they don't spin at all.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace leadline::worker::cpu {

struct ThreadPoolOptions {
  int threads = 1;  // the owner included; 1..256
  int first_core =
      -1;  // index among this process's cores of share 0; workers are pinned from it on; < 0: not pinned
  bool may_spin = true;  // false when threads outnumber cores
};

class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return threads_; }

  // body(thread, begin, end) for every thread's share of [0, count): share t is [count*t/T, count*(t+1)/T).
  // Returns when all are done. REQUIRES: body does not call run().
  template <typename Body>
  void run(std::int64_t count, const Body& body) {
    if (count <= 0) return;
    if (threads_ == 1 || count == 1) return body(0, std::int64_t{0}, count);
    struct Call {
      const Body* body;
      std::int64_t count;
      int threads;
    } call{&body, count, threads_};
    run_shares(
        [](void* context, int thread) {
          const Call& c = *static_cast<const Call*>(context);
          const std::int64_t begin = c.count * thread / c.threads, end = c.count * (thread + 1) / c.threads;
          if (begin < end) (*c.body)(thread, begin, end);
        },
        &call);
  }

 private:
  using Share = void (*)(void* context, int thread);
  void run_shares(Share share, void* context);
  void work(int thread);
  std::uint32_t wait_for_call(std::uint32_t seen) const;

  // Constant after construction.
  int threads_;
  int spins_;
  // Written by the owner before call_ is advanced, read by workers after.
  Share share_ = nullptr;
  void* context_ = nullptr;
  bool stop_ = false;
  // Synchronise themselves.
  alignas(64) std::atomic<std::uint32_t> call_{0};
  alignas(64) std::atomic<std::int32_t> busy_{0};

  std::vector<std::thread> workers_;
};

// Cores this process may run on, at least 1; read from the main thread's mask, so a pinned caller does not
// matter.
int available_cores();

}  // namespace leadline::worker::cpu
