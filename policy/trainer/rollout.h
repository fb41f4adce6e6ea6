#pragma once
// Rollouts: what every action of a decision would have led to. A trace knows each exit's drafts and whether
// they match, so all legal actions of a decision are tried, each followed by the current policy, instead of
// learning from the one that a log shows (Ross and Bagnell 2014, arXiv 1406.5979, with exact costs to go in
// the place of an expert's). Not the network (fitted_policy) and not logs (dataset). Thread: pure.
//
// In a batch a round costs what it adds to the steps that it shares (BatchField), and a step its part of the
// rest.

#include <cstdint>
#include <span>
#include <vector>

#include "policy/learned_policy.h"
#include "policy/trainer/batch_field.h"
#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"

namespace leadline::policy {

struct RolloutOptions {
  std::int32_t max_draft = 12;
  float epsilon = 0.3F;    // of the decisions on the way, so that other states are seen, too
  double foresight = 0.5;  // share of the return that is the recorded rest of the answer, see rollout.cpp
  std::uint64_t seed = 1;
};

// One row per decision that was passed on the way.
struct RolloutSet {
  std::size_t inputs = 0, outputs = 0;
  std::vector<float> states;        // (rows, inputs) as the network sees them
  std::vector<std::uint8_t> legal;  // (rows, outputs)
  std::vector<float> returns;       // (rows, outputs) in tokens, less that of the safe action
};

struct RolloutTotals {
  double tokens = 0, us = 0;  // of the current policy, without exploration
};

struct RolloutSetting {
  const DecodeTrace& trace;
  const LearnedModel& model;  // gives inputs and outputs
  const ExitPolicy& policy;   // the current one
  const BatchField& field;
  RolloutOptions options;
};

// Adds the decisions of `answer`.
void add_rollouts(const RolloutSetting& setting, const AnswerTrace& answer, RolloutSet& set,
                  RolloutTotals& totals);

}  // namespace leadline::policy
