#include "policy/exit_policy.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "policy/decision_draw.h"
#include "policy/fixed_policy.h"

namespace leadline::policy {
namespace {

const std::vector<std::int32_t> kExits{2, 4, 8};
const SequenceExperience kNew;

DecisionPoint point_of(DecisionKind kind, std::int32_t exit = 0, std::int32_t max_draft = 8) {
  DecisionPoint p;
  p.kind = kind;
  p.layers = 12;
  p.exits = kExits;
  p.exit = exit;
  p.max_draft = max_draft;
  p.experience = &kNew;
  return p;
}

TEST(ExitPolicy, Legality) {
  const DecisionPoint start = point_of(DecisionKind::round_start);
  EXPECT_TRUE(is_legal(start, {ActionKind::plain}));
  EXPECT_TRUE(is_legal(start, {ActionKind::draft, 4, 8}));
  EXPECT_TRUE(is_legal(start, {ActionKind::climb, 2, 1}));
  EXPECT_FALSE(is_legal(start, {ActionKind::draft, 4, 9})) << "longer than possible";
  EXPECT_FALSE(is_legal(start, {ActionKind::draft, 4, 0}));
  EXPECT_FALSE(is_legal(start, {ActionKind::draft, 3, 1})) << "no candidate";
  EXPECT_FALSE(is_legal(start, {ActionKind::stop}));
  const DecisionPoint climbing = point_of(DecisionKind::at_layer, 4);
  EXPECT_TRUE(is_legal(climbing, {ActionKind::draft, 4}));
  EXPECT_TRUE(is_legal(climbing, {ActionKind::climb, 8}));
  EXPECT_FALSE(is_legal(climbing, {ActionKind::climb, 4}));
  EXPECT_FALSE(is_legal(climbing, {ActionKind::draft, 8})) << "that layer has not run";
  const DecisionPoint after = point_of(DecisionKind::after_draft, 4);
  EXPECT_TRUE(is_legal(after, {ActionKind::keep_and_stop}));
  EXPECT_FALSE(is_legal(after, {ActionKind::plain}));
  EXPECT_FALSE(is_legal(after, {ActionKind::go_on, 4, 0})) << "an exit where none belongs";
}

TEST(ActionDistribution, DrawsByItsIntervals) {
  ActionDistribution d;
  d.add({ActionKind::stop}, 0.25F);
  d.add({ActionKind::go_on}, 0.5F);
  d.add({ActionKind::keep_and_stop}, 0.0F);
  d.add({ActionKind::stop}, 0.25F);
  EXPECT_EQ(d.entries().size(), 2U);
  EXPECT_EQ(d.draw(0.0).kind, ActionKind::stop);
  EXPECT_EQ(d.draw(0.49).kind, ActionKind::stop);
  EXPECT_EQ(d.draw(0.51).kind, ActionKind::go_on);
  EXPECT_EQ(d.draw(0.999999999).kind, ActionKind::go_on);
  EXPECT_EQ(d.mode().kind, ActionKind::stop) << "of equals the first";
}

TEST(DecisionDraw, IsUniformAndKeyed) {
  constexpr int kDraws = 100000, kCells = 10;
  std::vector<int> cells(kCells);
  for (std::uint64_t round = 0; round < kDraws; ++round)
    ++cells[static_cast<std::size_t>(decision_uniform(5, round, 1) * kCells)];
  double chi = 0;
  for (const int n : cells) chi += (n - kDraws / kCells) * (n - kDraws / kCells) / (1.0 * kDraws / kCells);
  EXPECT_LT(chi, 33.7);  // 9 degrees of freedom, p = 1e-4
  EXPECT_EQ(decision_uniform(1, 2, 3), decision_uniform(1, 2, 3));
  EXPECT_NE(decision_uniform(1, 2, 3), decision_uniform(1, 2, 4));
  EXPECT_NE(decision_uniform(1, 2, 3), decision_uniform(2, 1, 3));
}

TEST(Explore, SpreadsEpsilonAndKeepsTheRest) {
  const DecisionPoint start = point_of(DecisionKind::round_start);
  const Action wanted{ActionKind::draft, 4, 3};
  const ActionDistribution d = explore(start, ActionDistribution::certain(wanted), 0.2F);
  EXPECT_FLOAT_EQ(d.probability(wanted), 0.8F);
  EXPECT_FLOAT_EQ(d.probability({ActionKind::plain}), 0.05F);
  EXPECT_FLOAT_EQ(d.probability({ActionKind::climb, 8, 8}), 0.05F);
  const DecisionPoint after = point_of(DecisionKind::after_draft, 4);
  const ActionDistribution e = explore(after, ActionDistribution::certain({ActionKind::stop}), 0.3F);
  EXPECT_FLOAT_EQ(e.probability({ActionKind::stop}), 0.8F);
  EXPECT_FLOAT_EQ(e.probability({ActionKind::go_on}), 0.1F);
  const ActionDistribution unexplored = explore(start, ActionDistribution::certain(wanted), 0);
  EXPECT_EQ(unexplored.entries().size(), 1U);
}

TEST(FixedPolicy, StaticKeepsToItsSettingWithinWhatIsPossible) {
  const auto policy = make_static_policy(5, 6);
  EXPECT_EQ(policy->decide(point_of(DecisionKind::round_start)).mode(), (Action{ActionKind::draft, 4, 6}));
  EXPECT_EQ(policy->decide(point_of(DecisionKind::round_start, 0, 2)).mode(),
            (Action{ActionKind::draft, 4, 2}));
  EXPECT_EQ(policy->decide(point_of(DecisionKind::round_start, 0, 0)).mode(), Action{ActionKind::plain});
  EXPECT_EQ(make_static_policy(1, 6)->decide(point_of(DecisionKind::round_start)).mode().exit, 2);
  EXPECT_EQ(policy->decide(point_of(DecisionKind::after_draft, 4)).mode().kind, ActionKind::go_on);
}

TEST(FixedPolicy, ThresholdStopsBelowIt) {
  for (const bool keep : {false, true}) {
    const auto policy = make_threshold_policy({.exit = 4, .threshold = 0.7F, .keep_last = keep});
    DecisionPoint after = point_of(DecisionKind::after_draft, 4);
    after.features.set(Feature::top1_probability, 0.7F);
    EXPECT_EQ(policy->decide(after).mode().kind, ActionKind::go_on);
    after.features.set(Feature::top1_probability, 0.69F);
    EXPECT_EQ(policy->decide(after).mode().kind, keep ? ActionKind::keep_and_stop : ActionKind::stop);
  }
}

TEST(FixedPolicy, OffNeverDrafts) {
  const auto policy = make_off_policy();
  EXPECT_EQ(policy->decide(point_of(DecisionKind::round_start)).mode().kind, ActionKind::plain);
  EXPECT_EQ(policy->decide(point_of(DecisionKind::at_layer, 4)).mode().kind, ActionKind::plain);
  EXPECT_EQ(policy->decide(point_of(DecisionKind::after_draft, 4)).mode().kind, ActionKind::stop);
}

}  // namespace
}  // namespace leadline::policy
