#pragma once
// Dataset: trajectories -> transitions of the benefit network, with its input scaling; drops what cannot be
// learned from. Not the log's file. Thread: pure.

#include <span>
#include <string>
#include <vector>

#include "policy/learned_policy.h"
#include "policy/trainer/offline_q.h"
#include "policy/trainer/reward.h"

namespace leadline::policy {

struct DatasetCounts {
  std::size_t rounds = 0, transitions = 0;
  std::size_t without_propensity = 0;  // rounds dropped: a propensity that is not in (0, 1]
  std::size_t unknown_action = 0;      // rounds dropped: an action that the network has no output for
};

// Which outputs are legal at a point.
void fill_legal(const LearnedModel& model, const DecisionPoint& point, std::span<std::uint8_t> legal);

// Mean and scale of every input, into the model.
void fit_scaling(LearnedModel& model, std::span<const Trajectory> rounds);

// steps: n of the n-step return, cut before a later decision that `current` would not have made (Watkins), so
// that a return is never that of another policy. current: null: cut nowhere but at 1 (plain Q-learning).
struct DatasetOptions {
  int steps = 3;
  const ExitPolicy* current = nullptr;
};
[[nodiscard]] Transitions make_transitions(const LearnedModel& model, std::span<const Trajectory> rounds,
                                           const Lambda& lambda, const DatasetOptions& options,
                                           DatasetCounts& counts);

// The point at which a logged decision was made, as far as a log knows it (no sequence experience beyond
// features).
[[nodiscard]] DecisionPoint point_of(const LoggedDecision& decision, std::int32_t layers,
                                     std::span<const std::int32_t> exits);

}  // namespace leadline::policy
