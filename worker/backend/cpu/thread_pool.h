#pragma once
// ThreadPool: a fixed set of threads that run one kernel at a time: each its own static share, or pieces
// claimed in order, where a thread that is held up must not hold up the rest. Not a task queue: one kernel at
// a time. Passed, never global. Thread: one owner calls run(); it computes share 0 itself. Between calls
// workers spin for a moment, then sleep in a futex, so an idle pool uses no CPU. With more threads than cores
// they don't spin at all.

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace leadline::worker::cpu {

struct ThreadPoolOptions {
  int threads = 1;         // the owner included; 1..256
  std::vector<int> cores;  // of thread 0, 1, ...: all are pinned, the owner while it is held; empty: none
  bool may_spin = true;    // false when threads outnumber cores
};

// How a share [begin, end) is cut into pieces: of `grain`, and the last one to two grains into halves. Pure.
class ClaimedShare {
 public:
  struct Piece {
    std::int64_t begin, end;  // begin >= end: there is none
  };
  ClaimedShare(std::int64_t begin, std::int64_t end, std::int64_t grain)
      : begin_(begin),
        end_(end),
        grain_(grain),
        fine_((grain + 1) / 2),
        coarse_(end - begin > grain ? (end - begin) / grain - 1 : 0) {}
  [[nodiscard]] Piece piece(std::int64_t claim) const {
    if (claim < coarse_) return {begin_ + claim * grain_, begin_ + (claim + 1) * grain_};
    const std::int64_t at = begin_ + coarse_ * grain_ + (claim - coarse_) * fine_;
    return {at, at + fine_ < end_ ? at + fine_ : end_};
  }

 private:
  std::int64_t begin_, end_, grain_, fine_, coarse_;
};

class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return threads_; }

  // The owner stays on its core until release_owner(): a step long, as threads that it starts inherit where
  // it may run. Else the scheduler lets it spin on a worker's core, each waiting for the other to leave it.
  void hold_owner();
  void release_owner();

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

  // body(thread, begin, end) for pieces of `grain`; of half of it at the end of a share, so that threads end
  // together. A thread claims those of its own share in order, so that it reads memory in one stream, then
  // what is left of the others': only for work whose result does not depend on the thread.
  template <typename Body>
  void run_claimed(std::int64_t count, std::int64_t grain, const Body& body) {
    if (threads_ == 1 || count <= grain) {
      for (std::int64_t at = 0; at < count; at += grain) body(0, at, at + grain < count ? at + grain : count);
      return;
    }
    for (int t = 0; t < threads_; ++t) shares_[t].claims.store(0, std::memory_order_relaxed);
    run(threads_, [&](int thread, std::int64_t, std::int64_t) {
      for (int i = 0; i < threads_; ++i) {
        const int of = (thread + i) % threads_;
        const ClaimedShare share(count * of / threads_, count * (of + 1) / threads_, grain);
        for (;;) {
          const auto [begin, end] = share.piece(shares_[of].claims.fetch_add(1, std::memory_order_relaxed));
          if (begin >= end) break;
          body(thread, begin, end);
        }
      }
    });
  }

 private:
  using Share = void (*)(void* context, int thread);
  void run_shares(Share share, void* context);
  void work(int thread);
  std::uint32_t wait_for_call(std::uint32_t seen) const;

  // Constant after construction.
  int threads_;
  int spins_;
  int owner_core_ = -1;  // -1: not pinned
  // The owner's.
  bool held_ = false;
  cpu_set_t owner_was_{};  // where it may run when it is not held
  // Written by the owner before call_ is advanced, read by workers after.
  Share share_ = nullptr;
  void* context_ = nullptr;
  bool stop_ = false;
  // Synchronise themselves.
  alignas(64) std::atomic<std::uint32_t> call_{0};
  alignas(64) std::atomic<std::int32_t> busy_{0};
  struct alignas(64) ShareLeft {
    std::atomic<std::int64_t> claims{0};  // of a thread's share
  };
  std::unique_ptr<ShareLeft[]> shares_;  // by thread; run_claimed's

  std::vector<std::thread> workers_;
};

// Holds the owner for a scope.
class OwnerHold {
 public:
  explicit OwnerHold(ThreadPool& pool) : pool_(pool) { pool_.hold_owner(); }
  ~OwnerHold() { pool_.release_owner(); }
  OwnerHold(const OwnerHold&) = delete;
  OwnerHold& operator=(const OwnerHold&) = delete;

 private:
  ThreadPool& pool_;
};

}  // namespace leadline::worker::cpu
