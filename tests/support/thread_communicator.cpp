#include "tests/support/thread_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>

#include "monitoring/check.h"

namespace leadline::tests {
namespace {

using transport::Errc;
using transport::Result;

struct Group {
  explicit Group(int ranks, std::chrono::milliseconds limit)
      : stall_limit(limit),
        sent(static_cast<std::size_t>(ranks)),
        plans(static_cast<std::size_t>(ranks)),
        arrived_ranks(static_cast<std::size_t>(ranks)) {}
  const std::chrono::milliseconds stall_limit;

  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by mutex.
  std::vector<std::span<const std::byte>> sent;  // what each rank brought to the present collective
  std::vector<std::deque<std::vector<std::byte>>> plans;
  std::vector<bool> arrived_ranks;
  std::size_t arrived = 0;
  std::uint64_t phase = 0;
  std::string dead;  // reason; empty while alive
};

class ThreadCommunicator final : public transport::Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->sent.size()); }
  const char* name() const override { return "threads"; }

  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          transport::StreamHandle) override {
    return exchange(send, recv, send.size());
  }

  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      transport::StreamHandle) override {
    return exchange(send, rank_ == root ? recv : std::span<std::byte>(), send.size());
  }

  Result<void> broadcast(std::span<std::byte> buffer, int root, transport::StreamHandle) override {
    if (auto met = meet(buffer); !met) return met;
    const auto from = group_->sent[static_cast<std::size_t>(root)];
    if (rank_ != root && !buffer.empty())
      std::memcpy(buffer.data(), from.data(), std::min(from.size(), buffer.size()));
    return meet({});
  }

  Result<void> barrier() override { return meet({}); }

  Result<void> announce_plan(std::span<const std::byte> plan) override {
    const std::lock_guard lock(group_->mutex);
    if (!group_->dead.empty()) return monitoring::fail(Errc::rank_lost, group_->dead);
    for (std::size_t rank = 1; rank < group_->plans.size(); ++rank)
      group_->plans[rank].emplace_back(plan.begin(), plan.end());
    group_->changed.notify_all();
    return {};
  }

  Result<std::vector<std::byte>> await_plan() override {
    std::unique_lock lock(group_->mutex);
    auto& queue = group_->plans[static_cast<std::size_t>(rank_)];
    group_->changed.wait(lock, [&] { return !group_->dead.empty() || !queue.empty(); });
    if (!group_->dead.empty()) return monitoring::fail(Errc::rank_lost, group_->dead);
    std::vector<std::byte> plan = std::move(queue.front());
    queue.pop_front();
    return plan;
  }

  Result<void> check() override {
    const std::lock_guard lock(group_->mutex);
    if (!group_->dead.empty()) return monitoring::fail(Errc::rank_lost, group_->dead);
    return {};
  }

  void fail(std::string_view reason) override {
    const std::lock_guard lock(group_->mutex);
    if (group_->dead.empty()) group_->dead = reason;
    group_->changed.notify_all();
  }

 private:
  // recv empty: this rank takes nothing. The second meeting keeps the senders' memory still until all have
  // copied.
  Result<void> exchange(std::span<const std::byte> send, std::span<std::byte> recv, std::size_t each) {
    if (auto met = meet(send); !met) return met;
    for (std::size_t r = 0; r < group_->sent.size() && !recv.empty() && each > 0; ++r) {
      const auto part = group_->sent[r];
      LEADLINE_CHECK(part.size() == each && recv.size() == each * group_->sent.size(),
                     "collective sizes differ");
      if (part.data() != recv.data() + r * each) std::memcpy(recv.data() + r * each, part.data(), each);
    }
    return meet({});
  }

  Result<void> meet(std::span<const std::byte> brought) {
    std::unique_lock lock(group_->mutex);
    if (!group_->dead.empty()) return monitoring::fail(Errc::rank_lost, group_->dead);
    if (!brought.empty()) group_->sent[static_cast<std::size_t>(rank_)] = brought;
    group_->arrived_ranks[static_cast<std::size_t>(rank_)] = true;
    const std::uint64_t phase = group_->phase;
    if (++group_->arrived == group_->sent.size()) {
      group_->arrived = 0;
      group_->arrived_ranks.assign(group_->sent.size(), false);
      ++group_->phase;
      group_->changed.notify_all();
      return {};
    }
    const bool in_time = group_->changed.wait_for(
        lock, group_->stall_limit, [&] { return group_->phase != phase || !group_->dead.empty(); });
    if (!in_time) {
      for (std::size_t r = 0; r < group_->sent.size(); ++r)
        if (!group_->arrived_ranks[r] && group_->dead.empty())
          group_->dead = "rank " + std::to_string(r) + " stalled";
      group_->changed.notify_all();
    }
    if (group_->phase == phase) return monitoring::fail(Errc::rank_lost, group_->dead);
    return {};
  }

  // Constant after construction.
  const std::shared_ptr<Group> group_;
  const int rank_;
};

}  // namespace

std::vector<std::unique_ptr<transport::Communicator>> make_thread_group(
    int ranks, std::chrono::milliseconds stall_limit) {
  auto group = std::make_shared<Group>(ranks, stall_limit);
  std::vector<std::unique_ptr<transport::Communicator>> out;
  for (int rank = 0; rank < ranks; ++rank) out.push_back(std::make_unique<ThreadCommunicator>(group, rank));
  return out;
}

}  // namespace leadline::tests
