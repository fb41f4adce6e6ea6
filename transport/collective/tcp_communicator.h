#pragma once
// TcpCommunicator: collectives in host memory over a TcpMesh: several hosts without MPI (LeaderWorkerSet,
// --rendezvous), and what carries NCCL's id between them. Direct exchanges, as over MPI: an unfinished
// receive names the rank that stalled. Not shared memory, which bootstrap tries first. Thread: as
// communicator.h.

#include <memory>

#include "transport/collective/linked_communicator.h"
#include "transport/collective/tcp_mesh.h"

namespace leadline::transport {

class TcpCommunicator final : public LinkedCommunicator {
 public:
  static Result<std::unique_ptr<Communicator>> create(const GroupIdentity& identity,
                                                      std::unique_ptr<GroupLink> link,
                                                      std::chrono::milliseconds stall_limit,
                                                      SteadyTime start_deadline);
  ~TcpCommunicator() override;
  [[nodiscard]] const char* name() const override { return "tcp"; }
  [[nodiscard]] HostPlace host_place() const override { return mesh_->host_place(); }
  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          StreamHandle stream) override;
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle stream) override;
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) override;
  Result<void> barrier() override;

 private:
  TcpCommunicator(const GroupIdentity& identity, std::unique_ptr<GroupLink> link,
                  std::chrono::milliseconds stall_limit, std::unique_ptr<TcpMesh> mesh);
  Result<void> exchange(const char* what);
  Result<void> lost(int peer, const std::string& how);

  const std::unique_ptr<TcpMesh> mesh_;
  // Owned by the step thread: the collective at hand.
  std::vector<TcpMesh::Post> posts_;
  std::vector<TcpMesh::Want> wants_;
};

}  // namespace leadline::transport
