#pragma once
// ThreadCommunicator: the ranks of one group as threads of this process, for tests. Not a transport: memory
// is shared and ranks meet at a barrier. Held to the communicator conformance suite like every other
// implementation. Thread: each rank's object belongs to that rank's thread; `fail` may come from any. Guarded
// by the group's mutex.

#include <chrono>
#include <memory>
#include <vector>

#include "transport/collective/communicator.h"

namespace leadline::tests {

// One communicator per rank; past `stall_limit` in a collective the group is dead, as with the real ones.
std::vector<std::unique_ptr<transport::Communicator>> make_thread_group(
    int ranks, std::chrono::milliseconds stall_limit = std::chrono::seconds(30));

}  // namespace leadline::tests
