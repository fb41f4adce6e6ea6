#pragma once
// JobQueue: one thread and a bounded line of jobs before it. Not a pool and not ordered against other queues.
// Thread: push from any; jobs run on the queue's own thread, in order.
// Invariants: (1) at most `limit` of the jobs' weight waits, and one more job never waits for room: push
// refuses; (2) after close() returns no job runs; those that did not run in time are dropped.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace leadline::kvstore {

class JobQueue {
 public:
  // `first` runs before all jobs, on the thread.
  explicit JobQueue(std::uint64_t limit, std::function<void()> first = {});
  ~JobQueue();  // close at once
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  [[nodiscard]] bool push(std::function<void()> job, std::uint64_t weight);  // false: full or closed
  // Runs what waits for at most `patience`, then drops the rest and joins. The job that runs then is waited
  // for.
  void close(std::chrono::milliseconds patience);
  [[nodiscard]] std::uint64_t waiting() const;  // weight, the running job's included
  void wait_idle();                             // for tests: until nothing waits and nothing runs

 private:
  struct Job {
    std::function<void()> run;
    std::uint64_t weight = 0;
  };
  void work(const std::function<void()>& first);

  const std::uint64_t limit_;
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::uint64_t weight_ = 0;
  bool running_ = true;  // `first`, or a job
  bool closing_ = false, stopped_ = false;
  std::thread thread_;
};

}  // namespace leadline::kvstore
