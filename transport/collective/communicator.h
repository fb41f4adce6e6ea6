#pragma once
// Communicator: how the ranks of one worker exchange buffers. Not a reducer: sums over ranks are made by the
// backend from all-gathered partials in a fixed tree (exactness X2), so no implementation may add floats.
// Implementations: identity (one rank), MPI, shared memory, TCP, NCCL; one conformance suite for all of them.
//
// Thread: one owner (the step thread) calls every function; `fail` may be called from any thread.
// Invariants:
//   1. Every rank calls the same collectives in the same order with the same byte counts.
//   2. No call waits longer than the stall limit: past it the call returns rank_lost naming the rank, and the
//   group is dead:
//      every later call fails at once with the same error.
//   3. An idle rank waits in await_plan only, asleep (no spinning), for as long as it takes.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "transport/errc.h"

namespace leadline::transport {

// Which rank of its host this is: it shares the host's cores and GPUs out.
struct HostPlace {
  int rank = 0, ranks = 1;
  bool operator==(const HostPlace&) const = default;
};

// Where a device collective is ordered; null on the CPU.
using StreamHandle = void*;

class Communicator {
 public:
  virtual ~Communicator() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual const char* name() const = 0;  // "identity", "mpi", "shm", "tcp", "nccl"

  // As far as the group itself knows; a launcher's word goes before it (launch_place).
  [[nodiscard]] virtual HostPlace host_place() const { return {rank(), size()}; }

  // recv has size() * send.size() bytes, rank r's part at r * send.size(). send may be recv's own part (in
  // place).
  virtual Result<void> all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                  StreamHandle stream) = 0;
  // As all_gather, but only `root`'s recv is written; others pass an empty recv.
  virtual Result<void> gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                              StreamHandle stream) = 0;
  virtual Result<void> broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) = 0;
  virtual Result<void> barrier() = 0;

  // Rank 0 hands one plan (opaque bytes, at most kMaxPlanBytes) to every other rank. Returns when it is on
  // its way.
  virtual Result<void> announce_plan(std::span<const std::byte> plan) = 0;
  // Ranks > 0 sleep until the next plan is there. Returns rank_lost when rank 0 is gone. An empty plan means:
  // leave.
  virtual Result<std::vector<std::byte>> await_plan() = 0;

  // Not blocking: rank_lost once the group is dead. An idle rank 0 asks it between its own waits.
  virtual Result<void> check() { return {}; }

  // Waits for device collectives on `stream`, at most the stall limit, as every other wait; the host's are
  // done when they return.
  virtual Result<void> await_stream(StreamHandle stream) {
    (void)stream;
    return {};
  }

  // Ends the group: pending and later calls on all ranks return rank_lost with this reason. Any thread.
  virtual void fail(std::string_view reason) = 0;

  static constexpr std::size_t kMaxPlanBytes = std::size_t{64} << 20;
};

}  // namespace leadline::transport
