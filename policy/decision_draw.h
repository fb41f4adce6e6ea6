#pragma once
// Draws and exploration: what turns a distribution into an action where a log is wanted. Not the sampling
// noise of tokens (worker/sampling), which must never be shared with it (X9). Thread: any; pure.
// Invariant: a function of (sequence, round, decision) alone, so a replay draws the same.

#include <cstdint>

#include "policy/exit_policy.h"

namespace leadline::policy {

// Uniform in [0, 1): SplitMix64 (Steele, Lea, Flood 2014) over the three counters.
[[nodiscard]] double decision_uniform(std::uint64_t sequence, std::uint64_t round, std::uint32_t decision);

// (1 - epsilon) of the distribution's mode + epsilon of a uniform choice among exploring actions: at
// round_start plain and a climb from every exit with the longest draft (which leaves every later choice
// open), elsewhere all legal ones. epsilon in [0, 1].
[[nodiscard]] ActionDistribution explore(const DecisionPoint& point, const ActionDistribution& wanted,
                                         float epsilon);

}  // namespace leadline::policy
