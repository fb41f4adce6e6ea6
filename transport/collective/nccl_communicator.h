#pragma once
// NcclCommunicator: tensors between GPUs over NCCL on the caller's stream; plans, host buffers (a null
// stream), losses and the bootstrap id over the communicator of hosts that it owns (MPI, shared memory). Not
// a reducer for the model: all_reduce_sum is there to be measured and for runs without rank invariance.
//
// Thread: as communicator.h. Invariants: device collectives return when they are in the stream; await_stream
// is where they are waited for, at most the stall limit: past it the hosts meet, which names the rank that
// does not come, and NCCL's group is aborted; once dead, dead for ever. Has run on hardware with one rank at
// most (docs/gpu).

#include <atomic>
#include <memory>
#include <string>

#include "transport/collective/nccl_api.h"

namespace leadline::transport {

class NcclCommunicator final : public Communicator {
 public:
  // Rank 0 makes the id and the hosts carry it. rank_lost or io with NCCL's words.
  static Result<std::unique_ptr<Communicator>> create(std::unique_ptr<NcclApi> api,
                                                      std::unique_ptr<Communicator> hosts,
                                                      std::chrono::milliseconds stall_limit);
  ~NcclCommunicator() override;

  [[nodiscard]] int rank() const override { return hosts_->rank(); }
  [[nodiscard]] int size() const override { return hosts_->size(); }
  [[nodiscard]] const char* name() const override { return "nccl"; }
  [[nodiscard]] HostPlace host_place() const override { return hosts_->host_place(); }
  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          StreamHandle stream) override;
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle stream) override;
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) override;
  Result<void> barrier() override { return hosts_->barrier(); }
  Result<void> announce_plan(std::span<const std::byte> plan) override { return hosts_->announce_plan(plan); }
  Result<std::vector<std::byte>> await_plan() override { return hosts_->await_plan(); }
  Result<void> check() override;
  Result<void> await_stream(StreamHandle stream) override;
  void fail(std::string_view reason) override;

  Result<void> all_reduce_sum(std::span<float> values, StreamHandle stream);
  // The ranks that give the same colour, with their own hosts' communicator (draft ranks). This one must
  // outlive it.
  Result<std::unique_ptr<NcclCommunicator>> split(int color, std::unique_ptr<Communicator> hosts);

 private:
  NcclCommunicator(NcclApi& api, std::unique_ptr<NcclApi> owned, std::unique_ptr<Communicator> hosts,
                   NcclGroup group, std::chrono::milliseconds stall_limit);
  Result<void> done(const std::string& trouble, const char* what);
  Result<void> stalled();
  void abort_once();

  // Constant after construction.
  const std::unique_ptr<NcclApi> owned_;  // null in a part of another group
  NcclApi& api_;
  const std::unique_ptr<Communicator> hosts_;
  const NcclGroup group_;
  const std::chrono::milliseconds stall_limit_;
  std::atomic<bool> aborted_{false};
};

// How a build with NCCL makes it known (worker/main). wrap_for_device: configuration where there is none.
using DeviceCommunicatorMaker = Result<std::unique_ptr<Communicator>> (*)(
    std::unique_ptr<Communicator> hosts, std::chrono::milliseconds stall_limit);
void register_device_communicator(DeviceCommunicatorMaker maker);
Result<std::unique_ptr<Communicator>> wrap_for_device(std::unique_ptr<Communicator> hosts,
                                                      std::chrono::milliseconds stall_limit);

}  // namespace leadline::transport
