#include "kvstore/job_queue.h"

namespace leadline::kvstore {

JobQueue::JobQueue(std::uint64_t limit, std::function<void()> first)
    : limit_(limit), thread_([this, first = std::move(first)] { work(first); }) {}

JobQueue::~JobQueue() {
  close(std::chrono::milliseconds(0));
}

bool JobQueue::push(std::function<void()> job, std::uint64_t weight) {
  {
    std::lock_guard lock(mutex_);
    if (closing_ || weight_ + weight > limit_) return false;
    weight_ += weight;
    jobs_.push_back({std::move(job), weight});
  }
  changed_.notify_all();
  return true;
}

void JobQueue::work(const std::function<void()>& first) {
  if (first) first();
  std::unique_lock lock(mutex_);
  running_ = false;
  while (true) {
    changed_.notify_all();
    changed_.wait(lock, [&] { return stopped_ || closing_ || !jobs_.empty(); });
    if (stopped_ || jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    running_ = true;
    lock.unlock();
    job.run();
    job.run = nullptr;  // what it holds goes before the next one waits
    lock.lock();
    running_ = false;
    weight_ -= job.weight;
  }
}

void JobQueue::close(std::chrono::milliseconds patience) {
  {
    std::unique_lock lock(mutex_);
    closing_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, patience, [&] { return jobs_.empty() && !running_; });
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::lock_guard lock(mutex_);
  jobs_.clear();
  weight_ = 0;
}

std::uint64_t JobQueue::waiting() const {
  std::lock_guard lock(mutex_);
  return weight_;
}

void JobQueue::wait_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty() && !running_; });
}

}  // namespace leadline::kvstore
