#pragma once
// Which cores the threads of a rank run on and which memory nodes it takes: a decision over values. Not the
// machine (machine_topology) and not the pinning (thread_pool). Pure. Invariants: ranks of one machine share
// no core while there are enough for all; a rank's threads lie on as few nodes as hold them.

#include <string>
#include <vector>

namespace leadline::worker::cpu {

struct CoreNode {  // cores of this process on one memory node, ascending
  int node = 0;
  std::vector<int> cores;
};
using CpuTopology = std::vector<CoreNode>;  // no node without a core; never empty

struct PlacementWish {
  int threads = 0;          // per rank; 0: this rank's share of the cores
  int rank = 0, ranks = 1;  // on this machine
};

struct Placement {
  int threads = 1;
  std::vector<int> cores;  // of thread 0, 1, ...; empty: not pinned, as threads outnumber cores
  std::vector<int> nodes;  // where this rank's memory should lie; empty: there is one node, or no telling
};

// REQUIRES 0 <= rank < ranks, threads >= 0.
Placement place_threads(const CpuTopology& topology, const PlacementWish& wish);

// For the log: "2 threads of 8 cores on node 0, pinned".
std::string describe(const CpuTopology& topology, const Placement& placement);

}  // namespace leadline::worker::cpu
