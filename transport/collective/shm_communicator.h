#pragma once
// ShmCommunicator: collectives of ranks on one host through shared memory. Not for several hosts. A waiting
// rank spins for microseconds if there is a core for every rank, yields, then sleeps on a futex, so ranks
// that share cores do not starve each other (MPI's busy waiting does).
//
// Thread: as communicator.h. Each rank writes only its own slots, so pages land on its own NUMA node.
// Invariant (two slots per rank suffice): every rank posts every round, a rank enters round s only when all
// have posted round s - 1, and whoever has posted s - 1 has finished reading round s - 2, which used the same
// slot.

#include <memory>

#include "transport/collective/linked_communicator.h"
#include "transport/collective/shm_segment.h"

namespace leadline::transport {

class ShmCommunicator final : public LinkedCommunicator {
 public:
  // Forms the group's memory over `link`, collectively. io: a rank can't open it (another host or another
  // /dev/shm); the link is handed back through `link` in that case, so another implementation may take it.
  static Result<std::unique_ptr<Communicator>> create(int rank, int size, std::unique_ptr<GroupLink>& link,
                                                      std::unique_ptr<LaunchSession>& session,
                                                      std::chrono::milliseconds stall_limit,
                                                      SteadyTime start_deadline);
  ~ShmCommunicator() override;
  [[nodiscard]] const char* name() const override { return "shm"; }
  Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                          StreamHandle stream) override;
  Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                      StreamHandle stream) override;
  Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) override;
  Result<void> barrier() override;

 private:
  ShmCommunicator(int rank, int size, std::unique_ptr<GroupLink> link, std::unique_ptr<LaunchSession> session,
                  std::chrono::milliseconds stall_limit, std::unique_ptr<ShmSegment> segment);
  Result<void> enter_round(SteadyTime deadline, const char* what);
  void post(std::span<const std::byte> bytes);
  Result<void> wait_for(int other, std::uint32_t round, SteadyTime deadline, const char* what);
  Result<void> read_from(int other, std::span<std::byte> into, SteadyTime deadline, const char* what);
  [[nodiscard]] bool group_dead() const;
  Result<void> why_dead();
  void end_for_all() const;

  const std::unique_ptr<ShmSegment> segment_;
  const int spins_;          // looks before yielding; 0 where ranks outnumber cores
  std::uint32_t round_ = 0;  // owned by the step thread
};

}  // namespace leadline::transport
