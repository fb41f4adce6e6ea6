#include "policy/trainer/rollout.h"

#include <gtest/gtest.h>

#include "policy/fixed_policy.h"
#include "policy/trainer/fitted_policy.h"
#include "policy/trainer/replay.h"
#include "tests/unit/policy/trainer/trace_samples.h"

namespace leadline::policy {
namespace {

LearnedModel model_for(const DecodeTrace& trace) {
  LearnedModel model;
  model.layers = trace.layers;
  model.exits = trace.exits;
  model.max_draft = trace.max_draft;
  model.mean.assign(kBenefitInputs, 0.0F);
  model.scale.assign(kBenefitInputs, 1.0F);
  return model;
}

RolloutSet empty_set(const LearnedModel& model) {
  RolloutSet set;
  set.inputs = kBenefitInputs;
  set.outputs = kClimb + model.exits.size();
  return set;
}

// The mean field of one sequence is that sequence: what a policy takes by rollout is what it takes by replay.
TEST(Rollout, ThePolicysOwnTimeIsReplays) {
  const DecodeTrace trace = trace_of({"1101011101110001", "0001110101111101"});
  const LearnedModel model = model_for(trace);
  const CostTable costs = flat_costs();
  const BatchField alone(trace, costs);
  for (const float threshold : {0.1F, 0.5F}) {
    const auto policy = make_threshold_policy({.exit = 2, .max_draft = 3, .threshold = threshold});
    RolloutTotals totals;
    for (const AnswerTrace& answer : trace.answers) {
      RolloutSet set = empty_set(model);
      add_rollouts({trace, model, *policy, alone, {.max_draft = 4, .epsilon = 0}}, answer, set, totals);
    }
    const ReplayResult replayed = replay(trace, answers_of(trace), *policy, flat_costs(), {.max_draft = 4});
    EXPECT_DOUBLE_EQ(totals.tokens, replayed.tokens);
    EXPECT_NEAR(totals.us, replayed.us, 1e-6);
  }
}

// By hand, plain policy, "11": at the first token a climb to 2 is followed by the policy's "plain" at the
// layer, so it costs a head and a probe and two passes in the place of one; nothing is won.
TEST(Rollout, ReturnsAreTokensLessLambdaCost) {
  const DecodeTrace trace = trace_of({"11"});
  const LearnedModel model = model_for(trace);
  const CostTable costs = flat_costs();
  const auto off = make_off_policy();
  const BatchField alone(trace, costs);
  RolloutSet set = empty_set(model);
  RolloutTotals totals;
  add_rollouts({trace, model, *off, alone, {.max_draft = 4, .epsilon = 0, .foresight = 0}}, trace.answers[0],
               set, totals);
  const double plain = 3 + 100 + 20 + 1, lambda = 1 / plain;
  ASSERT_GE(set.returns.size(), set.outputs);
  EXPECT_FLOAT_EQ(set.returns[kPlain], 0) << "the safe action is what others are compared with";
  EXPECT_NEAR(set.returns[kClimb], -lambda * (3 + 20 + 1), 1e-5);
  EXPECT_EQ(set.legal[kGoOn], 0) << "not at a round's start";
}

// Drafts of exit 2 stand where they are sure: the fitted policy must find that, and beat every static
// setting.
TEST(FittedPolicy, LearnsToDraftWhereDraftsStand) {
  std::vector<std::string> patterns;
  for (int i = 0; i < 40; ++i)
    patterns.emplace_back(i % 2 == 0 ? "111101111011110111101111" : "000010000010000100000100");
  const DecodeTrace trace = trace_of(patterns);
  LearnedModel best;
  FitOptions options;
  options.batches = {1};
  options.iterations = 3;
  options.steps = 1500;
  options.rollout.max_draft = 4;
  fit_policy(trace, answers_of(trace), flat_costs(), options,
             [&](const LearnedModel& model, const FitProgress&) { best = model; });
  ASSERT_TRUE(best.valid());
  const ReplayOptions replaying{.max_draft = 4};
  const double learned =
      replay(trace, answers_of(trace), *make_learned_policy(best), flat_costs(), replaying).us_per_token();
  double fixed = replay(trace, answers_of(trace), *make_off_policy(), flat_costs(), replaying).us_per_token();
  for (const std::int32_t exit : {2, 6})
    for (std::int32_t drafts = 1; drafts <= 4; ++drafts)
      fixed = std::min(
          fixed, replay(trace, answers_of(trace), *make_static_policy(exit, drafts), flat_costs(), replaying)
                     .us_per_token());
  EXPECT_LT(learned, 0.97 * fixed);
}

TEST(FittedPolicy, TheSameInputsGiveTheSameNetwork) {
  const DecodeTrace trace = trace_of({"110101110111", "000011110000"});
  std::vector<std::vector<float>> weights;
  for (int run = 0; run < 2; ++run) {
    FitOptions options;
    options.batches = {1, 4};
    options.iterations = 1;
    options.steps = 50;
    options.rollout.max_draft = 4;
    fit_policy(trace, answers_of(trace), flat_costs(), options,
               [&](const LearnedModel& model, const FitProgress&) { weights.push_back(model.net.weights); });
  }
  EXPECT_EQ(weights[0], weights[1]);
}

}  // namespace
}  // namespace leadline::policy
