#pragma once
// Trajectory: the decisions of one round and what became of them: what a log holds and a trainer eats. Not
// the file (trajectory_log) and not a transition (trainer/dataset). No token ids and no text: nothing here
// says what was written. Thread: values.

#include <cstdint>
#include <vector>

#include "policy/exit_features.h"
#include "policy/exit_policy.h"

namespace leadline::policy {

struct LoggedDecision {
  DecisionKind kind = DecisionKind::round_start;
  std::int32_t exit = 0, drafted = 0, max_draft = 0;  // of the DecisionPoint
  ExitFeatures features;
  Action action;
  float propensity = 1;  // probability with which this action was drawn; in (0, 1]
  float cost_us = 0;     // spent for this sequence from here to its next decision or the round's end
};

struct Trajectory {
  std::uint64_t sequence = 0;
  std::uint32_t round = 0;
  std::int32_t batch_rows = 1;
  std::int32_t tokens = 1, drafted = 0, accepted = 0;  // outcome of the round
  std::vector<LoggedDecision> decisions;               // in order; the first is round_start
};

}  // namespace leadline::policy
