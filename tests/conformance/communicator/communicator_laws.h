#pragma once
// The laws that every Communicator keeps, each a function that all ranks of a group run together. Not a test
// program: the program communicator_laws runs them in each rank's process, communicator_conformance_test
// starts the groups. Thread: the rank's main thread.

#include <string>
#include <vector>

#include "transport/collective/communicator.h"

namespace leadline::tests {

// Of groups under test. Sanitizers make ranks that many times slower, four of them on two cores most of all.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kStallLimitMs = 5'000;
#else
inline constexpr int kStallLimitMs = 1'000;
#endif

struct Law {
  const char* name;
  // "" when the law held on this rank, else what did not.
  std::string (*run)(transport::Communicator& group);
  bool ends_group;      // the group is dead afterwards
  bool last_rank_dies;  // it says nothing, by design
  int least_ranks;
};

const std::vector<Law>& communicator_laws();

}  // namespace leadline::tests
