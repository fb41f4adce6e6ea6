#pragma once
// This machine's cores by memory node, and where this thread's memory goes: libnuma where the build has it,
// else one node. Not a decision (core_placement). Thread: main's, before others start; they inherit the
// memory policy.

#include <vector>

#include "worker/backend/cpu/core_placement.h"

namespace leadline::worker::cpu {

// Cores that this process could run on when it was first asked.
const CpuTopology& machine_topology();

int available_cores();  // of it, at least 1

// New memory of this thread and of those that it starts comes from these nodes while they have any: from one
// if it is one, from all in turn if there are several. Empty: nothing changes.
void prefer_nodes(const std::vector<int>& nodes);

}  // namespace leadline::worker::cpu
