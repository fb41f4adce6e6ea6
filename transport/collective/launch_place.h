#pragma once
// Where a rank stands, from flags and the launcher's environment: which rank of how many, where rank 0 is
// met, which of its host's ranks. Pure: a function of the flags and of what the environment says. Not the
// meeting itself (bootstrap, group_door) and not MPI (mpi_launch). Thread: any. Invariants: flags win over
// LEADLINE_WORLD, that over what LeaderWorkerSet sets; half a set of names is an error, never a guess.

#include <cstdint>
#include <functional>
#include <string>

#include "transport/collective/communicator.h"

namespace leadline::transport {

// --rank, --world, --rendezvous; world 0: not given.
struct LaunchFlags {
  std::int32_t rank = -1;
  std::int32_t world = 0;
  std::string rendezvous;  // HOST:PORT of rank 0
};

using EnvironmentReader = std::function<std::string(const char* name)>;  // "" when not set
std::string process_environment(const char* name);

struct LaunchPlace {
  enum class Source { none, flags, leadline, leader_worker_set };
  Source source = Source::none;  // none: nobody said; an MPI launcher may have
  int rank = 0, world = 1;
  std::string host;  // of rank 0; empty when world is 1
  std::uint16_t port = 0;
  // Rank 0 listens on every address: `host` is a name that others resolve (a headless service), which need
  // not be known here yet.
  bool listen_everywhere = false;
};

// flags or LEADLINE_WORLD, LEADLINE_RANK, LEADLINE_RENDEZVOUS. configuration: names the field and the value.
Result<LaunchPlace> launch_place(const LaunchFlags& flags, const EnvironmentReader& environment);
// LWS_GROUP_SIZE pods of one rank each, LWS_WORKER_INDEX, LWS_LEADER_ADDRESS, LEADLINE_RENDEZVOUS_PORT (else
// 7101). (Several ranks in a pod: deploy/docker/leadline-ranks counts them and sets LEADLINE_WORLD.)
Result<LaunchPlace> leader_worker_set_place(const EnvironmentReader& environment);

// What Open MPI, Hydra or Slurm say, else `otherwise`.
HostPlace host_place(const EnvironmentReader& environment, HostPlace otherwise);

constexpr int kMaxRanks = 1024;
constexpr std::uint16_t kRendezvousPort = 7101;

}  // namespace leadline::transport
