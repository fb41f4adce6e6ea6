#pragma once
// How the ranks of one worker find each other: ordered candidates, the first that fits (docs/architecture.md,
// section 5). Order: --rank/--world/--rendezvous or LEADLINE_WORLD -> shared memory, else TCP; an MPI
// launcher's environment -> shared memory, else MPI; LeaderWorkerSet's -> TCP; none of them -> identity. Not
// a collective itself. Thread: called once, from main, before other threads exist.

#include <chrono>
#include <memory>
#include <string>

#include "transport/collective/communicator.h"
#include "transport/collective/launch_place.h"

namespace leadline::transport {

struct BootstrapOptions {
  std::string backend = "auto";  // auto | identity | mpi | shm | tcp; also LEADLINE_COLLECTIVE
  LaunchFlags launch;            // --rank, --world, --rendezvous
  std::chrono::milliseconds stall_limit{60'000};    // a collective or a peer silent for longer loses the rank
  std::chrono::milliseconds connect_limit{60'000};  // to find each other at start
};

Result<std::unique_ptr<Communicator>> bootstrap(const BootstrapOptions& options);

}  // namespace leadline::transport
