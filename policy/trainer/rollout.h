#pragma once
// Rollouts: what every action of a decision would have led to. A trace knows each exit's drafts and whether
// they match, so all legal actions of a decision are tried, each followed by the current policy, instead of
// learning from the one that a log shows (Ross and Bagnell 2014, arXiv 1406.5979, with exact costs to go in
// the place of an expert's). Not the network (fitted_policy) and not logs (dataset). Thread: pure.
//
// Batches are a mean field: sequences beside this one do as it does, and of them the share that still draws
// its j-th draft is what the policy showed so far. A pass of R rows costs each 1/R of it, as in replay.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/learned_policy.h"
#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"

namespace leadline::policy {

inline constexpr int kMostPasses = kMaxDraft + 1;

// Of one batch size.
struct BatchField {
  std::int32_t batch = 1;
  std::array<double, kMostPasses + 1> going{};  // rows of a step's j-th draft pass, of `batch`; [0] unused
  std::array<double, kMostPasses + 1> seen{};   // sums that `going` is made of by update()
  double steps = 0;
  BatchField() { going.fill(1); }
  void update();
};

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
  const CostTable& costs;
  RolloutOptions options;
};

// Adds the decisions of `answer`. `field` is counted in, its means stay.
void add_rollouts(const RolloutSetting& setting, const AnswerTrace& answer, BatchField& field,
                  RolloutSet& set, RolloutTotals& totals);

}  // namespace leadline::policy
