#pragma once
// LinkedCommunicator: what shared memory and MPI have in common: plans, losses and health travel over the
// GroupLink; only tensors differ. Not a collective. Thread: as communicator.h.

#include <memory>
#include <string>

#include "transport/collective/communicator.h"
#include "transport/collective/group_link.h"

namespace leadline::transport {

// What the launcher holds for as long as the group lives (MPI between init and finalize).
class LaunchSession {
 public:
  virtual ~LaunchSession() = default;
  // Ends it in good order. Not called when the group died: MPI_Finalize would wait for the lost rank, so the
  // process then leaves without it and the launcher, seeing that, ends what is left of the job.
  virtual void close() = 0;
};

class LinkedCommunicator : public Communicator {
 public:
  LinkedCommunicator(int rank, int size, std::unique_ptr<GroupLink> link,
                     std::unique_ptr<LaunchSession> session, std::chrono::milliseconds stall_limit);
  ~LinkedCommunicator() override;
  [[nodiscard]] int rank() const final { return rank_; }
  [[nodiscard]] int size() const final { return size_; }
  Result<void> announce_plan(std::span<const std::byte> plan) final;
  Result<std::vector<std::byte>> await_plan() final;
  Result<void> check() final { return link_->pump(); }
  void fail(std::string_view reason) final { link_->fail(reason); }

 protected:
  // While waiting since `started`: rank_lost if the group died, or if a rank left it that will never come.
  Result<void> still_whole(SteadyTime started);
  // Ends the group because `other` did not come to `what` within the stall limit.
  tl::unexpected<Error> stalled(int other, const char* what);
  [[nodiscard]] SteadyTime deadline() const { return std::chrono::steady_clock::now() + stall_limit_; }
  void check_part_sizes(std::span<const std::byte> send, std::span<std::byte> recv) const;

  // Constant after construction.
  const int rank_, size_;
  const std::chrono::milliseconds stall_limit_;
  const std::unique_ptr<GroupLink> link_;
  const std::unique_ptr<LaunchSession> session_;  // may be null
};

// Cores on which this process may run.
int usable_cores();

}  // namespace leadline::transport
