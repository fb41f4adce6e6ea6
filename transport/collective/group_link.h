#pragma once
// GroupLink: the star of TCP connections between rank 0 and the other ranks: plans go down, news of a lost
// rank goes both ways. Not for tensors. A closed connection without a goodbye is a dead rank.
//
// Thread: announce, await_plan and pump belong to the step thread; fail, dead and loss to any. Rank 0 has one
// more thread inside, asleep in poll(), that hears of losses and passes them on. Invariants: the first reason
// for which the group died stays; once dead, dead for ever.

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "transport/collective/group_socket.h"

namespace leadline::transport {

class GroupLink {
 public:
  // Rank 0: sockets[r - 1] is rank r's. Other ranks: one socket, rank 0's.
  GroupLink(int rank, int size, std::vector<std::unique_ptr<GroupSocket>> sockets,
            std::chrono::milliseconds stall_limit);
  ~GroupLink();  // says goodbye; waits at most 2 s for the others to read it

  // At start, before watching: rank 0's bytes to everyone, and everyone's verdict ("" = agreed) back to rank
  // 0, which decides. Errors: what went wrong and on which rank.
  Result<std::vector<std::byte>> offer_or_take(std::span<const std::byte> offer, SteadyTime deadline);
  Result<std::string> settle(std::string_view own_verdict,
                             SteadyTime deadline);  // all agreed: "", else a reason

  // At start: every rank's text (at most max_bytes, without line breaks) on every rank.
  Result<std::vector<std::string>> exchange(std::string_view own, std::size_t max_bytes, SteadyTime deadline);
  // The address of this rank on its way to rank 0 (rank 0: to rank 1): where the other ranks may reach it.
  [[nodiscard]] std::string local_host() const { return sockets_.front()->local_host(); }

  // `on_loss` runs once, on whichever thread learns of the loss; it must not block.
  void start_watching(std::function<void()> on_loss);
  void stop_watching();  // joins the watcher; on_loss runs no more. Before what on_loss uses goes. REQUIRES:
                         // no fail() runs

  Result<void> announce(std::span<const std::byte> plan);
  Result<std::vector<std::byte>> await_plan(std::size_t max_bytes);
  // Not blocking: ranks > 0 look for news from rank 0. Then as loss().
  Result<void> pump();

  [[nodiscard]] bool dead() const { return dead_.load(std::memory_order_acquire); }
  [[nodiscard]] Error loss() const;
  // A rank that said goodbye, -1 when none: in order at the end, a loss when somebody still waits for it.
  [[nodiscard]] int departed() const { return departed_.load(std::memory_order_acquire); }
  void fail(std::string_view reason);

 private:
  void die(std::string reason);
  void tell_others(std::string_view reason);
  void take(std::vector<GroupFrame>& frames);
  Result<void> read_from_leader(std::size_t max_bytes);
  void watch();
  void hear(int peer_rank, bool& open);
  void wake();

  // Constant after construction.
  const int rank_, size_;
  const std::chrono::milliseconds stall_limit_;
  const std::vector<std::unique_ptr<GroupSocket>> sockets_;
  const int wake_fd_;  // eventfd: the group died, or the watcher should leave
  std::function<void()> on_loss_;

  // Owned by the step thread.
  std::deque<std::vector<std::byte>> plans_;

  std::atomic<bool> dead_{false}, leaving_{false};
  std::atomic<int> departed_{-1};
  mutable std::mutex mutex_;  // guards reason_
  std::string reason_;
  std::thread watcher_;  // rank 0
};

}  // namespace leadline::transport
