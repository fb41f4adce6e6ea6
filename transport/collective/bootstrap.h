#pragma once
// How the ranks of one worker find each other: ordered candidates, the first that fits (docs/architecture.md,
// section 5). Order: one rank -> identity; an MPI launcher's environment -> MPI (with shared memory when all
// ranks are on one host); otherwise --rank/--world/--rendezvous. Not a collective itself. Thread: called
// once, from main, before other threads exist.

#include <chrono>
#include <memory>
#include <string>

#include "transport/collective/communicator.h"

namespace leadline::transport {

struct BootstrapOptions {
  std::string backend = "auto";                     // auto | identity | mpi | shm; also LEADLINE_COLLECTIVE
  std::chrono::milliseconds stall_limit{60'000};    // a collective or a peer silent for longer loses the rank
  std::chrono::milliseconds connect_limit{60'000};  // to find each other at start
};

Result<std::unique_ptr<Communicator>> bootstrap(const BootstrapOptions& options);

}  // namespace leadline::transport
