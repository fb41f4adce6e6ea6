#pragma once
// Times a repeated operation for the benchmarks and folds its results into a hash. Not a profiler.
// Thread: the caller's.

#include <cstdint>
#include <cstdio>
#include <ctime>

#include "monitoring/fnv1a.h"

namespace leadline::testing {

// Runs `operation(i)` -> std::uint64_t `runs` times and prints its mean CPU time and the hash of all results.
template <typename Operation>
void time_it(const char* name, int runs, Operation operation) {
  monitoring::Fnv1a hash;
  operation(0);                             // warm
  const std::clock_t start = std::clock();  // CPU time: other work on the machine does not count
  for (int i = 0; i < runs; ++i) hash.add(operation(i));
  const double us = static_cast<double>(std::clock() - start) * 1e6 / CLOCKS_PER_SEC;
  std::printf("%-44s %10.2f us  hash %016llx\n", name, us / runs,
              static_cast<unsigned long long>(hash.value()));
}

}  // namespace leadline::testing
