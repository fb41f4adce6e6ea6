#pragma once
// MeteredCommunicator: a communicator that counts what passes through it, and may wait before every
// collective as a slower network would. Not a network model: every rank waits the same time, once per
// collective. Counts are of this rank. Thread: as the communicator inside; counts may be read by any thread.

#include <atomic>
#include <chrono>
#include <memory>

#include "transport/collective/communicator.h"

namespace leadline::tests {

struct CollectiveMeter {
  std::atomic<std::uint64_t> collectives{0};  // all_gather, gather, broadcast
  std::atomic<std::uint64_t> bytes{0};        // that this rank sent or received in them
  std::atomic<std::uint64_t> plans{0}, plan_bytes{0};
};

std::unique_ptr<transport::Communicator> metered(std::unique_ptr<transport::Communicator> inner,
                                                 std::shared_ptr<CollectiveMeter> meter,
                                                 std::chrono::microseconds delay = {});

}  // namespace leadline::tests
