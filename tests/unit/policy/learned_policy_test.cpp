#include "policy/learned_policy.h"

#include <gtest/gtest.h>

#include <numeric>

#include "policy/del_policy.h"

namespace leadline::policy {
namespace {

TEST(Mlp, IsItsDefinition) {
  Mlp net;
  net.sizes = {2, 2, 1};
  net.weights = {1, -1, 2, 0.5F, 0, 1, 3, -2, 0.25F};  // W1 (2x2), b1, W2 (1x2), b2
  ASSERT_TRUE(net.valid());
  float out = 0;
  const float in[] = {2, 1};
  net.run(in, {&out, 1});  // hidden: relu(2-1) = 1, relu(4+0.5+1) = 5.5
  EXPECT_FLOAT_EQ(out, 3 * 1 - 2 * 5.5F + 0.25F);
  const float negative[] = {0, 3};  // hidden: relu(-3) = 0, relu(1.5+1) = 2.5
  net.run(negative, {&out, 1});
  EXPECT_FLOAT_EQ(out, -2 * 2.5F + 0.25F);
}

// A network without hidden layer whose outputs are the biases.
LearnedModel constant(std::vector<float> outputs) {
  LearnedModel m;
  m.layers = 12;
  m.exits.resize(outputs.size() - kClimb);
  std::iota(m.exits.begin(), m.exits.end(), 2);
  m.mean.assign(kBenefitInputs, 0);
  m.scale.assign(kBenefitInputs, 1);
  m.net.sizes = {static_cast<std::uint32_t>(kBenefitInputs), static_cast<std::uint32_t>(outputs.size())};
  m.net.weights.assign(kBenefitInputs * outputs.size(), 0);
  m.net.weights.insert(m.net.weights.end(), outputs.begin(), outputs.end());
  return m;
}

TEST(BenefitPolicy, TakesTheBestLegalAction) {
  const std::vector<std::int32_t> exits{2, 3, 4};
  const auto policy = make_learned_policy(constant({0, 5, 1, 2, 3, 9, 4}));  // climb to exit 3 is best
  DecisionPoint point;
  point.layers = 12;
  point.exits = exits;
  point.max_draft = 20;
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::climb, 3, 12}));
  point.max_draft = 0;
  EXPECT_EQ(policy->decide(point).mode().kind, ActionKind::plain) << "nothing can be drafted";
  point.kind = DecisionKind::at_layer;
  point.exit = 2;
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::climb, 3, 0}));
  point.exit = 4;
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::draft, 4, 0})) << "no way down";
  point.kind = DecisionKind::after_draft;
  EXPECT_EQ(policy->decide(point).mode().kind, ActionKind::go_on);
}

TEST(DelPolicy, PicksTheExitWithTheMostTokensPerLayer) {
  const std::vector<std::int32_t> exits{2, 8};
  SequenceExperience seen;
  DecisionPoint point;
  point.layers = 12;
  point.exits = exits;
  point.max_draft = 6;
  point.experience = &seen;
  const auto policy = make_del_policy();
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::draft, 2, 1})) << "the first round";
  seen.exits[0] = {.match = 9, .miss = 1};
  seen.exits[1] = {.match = 10, .miss = 0};
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::draft, 2, 6}));
  seen.exits[0] = {.match = 0, .miss = 10};
  EXPECT_EQ(policy->decide(point).mode(), (Action{ActionKind::draft, 8, 6}))
      << "(1+g) / (12+8g) rises with g";
  seen.exits[1] = {.match = 0, .miss = 10};
  EXPECT_EQ(policy->decide(point).mode().kind, ActionKind::plain);
}

TEST(DelPolicy, StopsBelowTheMiddleOfItsConfidencesAndKeepsTheDraft) {
  const std::vector<std::int32_t> exits{2};
  SequenceExperience seen;
  seen.exits[0] = {
      .match = 2, .miss = 1, .match_confidence = 1.8F, .miss_confidence = 0.3F};  // means .9 and .3
  DecisionPoint point;
  point.kind = DecisionKind::after_draft;
  point.layers = 12;
  point.exits = exits;
  point.exit = 2;
  point.experience = &seen;
  point.features.set(Feature::top1_probability, 0.61F);
  EXPECT_EQ(make_del_policy()->decide(point).mode().kind, ActionKind::go_on);
  point.features.set(Feature::top1_probability, 0.59F);
  EXPECT_EQ(make_del_policy()->decide(point).mode().kind, ActionKind::keep_and_stop);
}

}  // namespace
}  // namespace leadline::policy
