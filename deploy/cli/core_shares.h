#pragma once
// cores_of_worker: which cores of this machine a worker of `up` may use. Not the placement of its threads
// (worker/backend/cpu/core_placement, which sees the worker's cores alone). Pure. Invariant: workers that are
// given cores share none.

#include <span>
#include <vector>

namespace leadline::deploy {

struct CoreWish {
  int workers = 1, ranks = 1;  // of this machine; of each worker
  int threads = 0;             // per rank; 0: as the worker thinks best
};

// Of `worker`, from `cores`; empty: all of them, as the machine has too few for everybody or nobody counted
// them. Workers pin their threads to the first of the cores that they see, so those of one machine must not
// see the same.
std::vector<int> cores_of_worker(std::span<const int> cores, const CoreWish& wish, int worker);

// Of this process, ascending.
std::vector<int> own_cores();

}  // namespace leadline::deploy
