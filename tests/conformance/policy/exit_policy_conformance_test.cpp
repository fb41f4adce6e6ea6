// The laws of ExitPolicy, for every implementation: total, finite, a distribution, legal actions only, pure,
// quick.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "policy/decision_draw.h"
#include "policy/del_policy.h"
#include "policy/exit_policy.h"
#include "policy/fixed_policy.h"
#include "policy/learned_policy.h"

namespace leadline::policy {
namespace {

struct Maker {
  std::string name;
  std::function<std::unique_ptr<ExitPolicy>()> make;
};

// A network of random weights: no law may hang on what was learned.
std::unique_ptr<ExitPolicy> random_learned(LearnedKind kind, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.5F);
  LearnedModel model;
  model.kind = kind;
  model.layers = 24;
  model.exits = {2, 3, 5, 8, 12, 20};
  const auto inputs = static_cast<std::uint32_t>(kind == LearnedKind::lede ? kLedeInputs : kBenefitInputs);
  const auto outputs =
      static_cast<std::uint32_t>(kind == LearnedKind::lede ? kLedeOutputs : kClimb + model.exits.size());
  model.mean.assign(inputs, 0.5F);
  model.scale.assign(inputs, 2.0F);
  model.net.sizes = {inputs, 48, 48, outputs};
  model.net.weights.resize(Mlp::weights_for(model.net.sizes));
  for (float& w : model.net.weights) w = normal(random);
  return make_learned_policy(std::move(model));
}

std::vector<Maker> makers() {
  return {
      {"off", [] { return make_off_policy(); }},
      {"static", [] { return make_static_policy(4, 6); }},
      {"static_of_another_model", [] { return make_static_policy(99, 99); }},
      {"threshold", [] { return make_threshold_policy({.exit = 4}); }},
      {"threshold_that_keeps",
       [] { return make_threshold_policy({.exit = 2, .threshold = 0.9F, .keep_last = true}); }},
      {"del", [] { return make_del_policy(); }},
      {"lede", [] { return random_learned(LearnedKind::lede, 1); }},
      {"learned", [] { return random_learned(LearnedKind::benefit, 2); }},
  };
}

// Points of every kind, usual and awkward: no candidates, nothing left to draft, features at the ends of the
// floats.
class Points {
 public:
  explicit Points(std::uint32_t seed) : random_(seed) {}

  DecisionPoint next() {
    DecisionPoint point;
    point.kind = static_cast<DecisionKind>(random_() % 3);
    point.layers = 2 + static_cast<std::int32_t>(random_() % 40);
    exits_.clear();
    for (std::int32_t exit = 1; exit < point.layers && exits_.size() < kMaxExits; ++exit)
      if (random_() % 3 == 0) exits_.push_back(exit);
    const bool mid_round = point.kind != DecisionKind::round_start;
    if (mid_round && exits_.empty()) exits_.push_back(1);
    point.exits = exits_;
    if (mid_round) point.exit = exits_[random_() % exits_.size()];
    point.max_draft = static_cast<std::int32_t>(random_() % 20);
    if (point.kind == DecisionKind::after_draft) point.drafted = static_cast<std::int32_t>(random_() % 16);
    for (std::size_t f = 0; f < kFeatureCount; ++f) point.features.set(static_cast<Feature>(f), value());
    point.experience = &experience();
    return point;
  }

 private:
  float value() {
    switch (random_() % 8) {
      case 0:
        return std::numeric_limits<float>::infinity();
      case 1:
        return -std::numeric_limits<float>::infinity();
      case 2:
        return std::numeric_limits<float>::quiet_NaN();
      case 3:
        return 1e30F;
      default:
        return std::uniform_real_distribution<float>(0, 4)(random_);
    }
  }
  const SequenceExperience& experience() {
    experience_ = {};
    for (std::uint32_t round = random_() % 6; round > 0; --round) {
      const float top1[] = {0.5F, value()};
      std::vector<ExitObservation> seen;
      for (std::uint32_t i = random_() % 9; i > 0; --i)
        seen.push_back({static_cast<std::int32_t>(random_() % 40) - 2, random_() % 2 == 0, value()});
      const auto drafted = static_cast<std::int32_t>(random_() % 8);
      experience_ = observe(experience_, {drafted, drafted / 2, top1, value(), seen});
    }
    return experience_;
  }

  std::mt19937 random_;
  std::vector<std::int32_t> exits_;
  SequenceExperience experience_;
};

void expect_lawful(const DecisionPoint& point, const ActionDistribution& d) {
  double sum = 0;
  ASSERT_FALSE(d.entries().empty());
  for (const auto& entry : d.entries()) {
    ASSERT_TRUE(std::isfinite(entry.probability) && entry.probability > 0) << entry.probability;
    ASSERT_TRUE(is_legal(point, entry.action))
        << "kind " << static_cast<int>(entry.action.kind) << " exit " << entry.action.exit << " max "
        << entry.action.max_draft << " at kind " << static_cast<int>(point.kind);
    sum += entry.probability;
  }
  ASSERT_NEAR(sum, 1.0, 1e-5);
}

class ExitPolicyLaws : public testing::TestWithParam<Maker> {};

TEST_P(ExitPolicyLaws, GivesADistributionOverLegalActionsWhateverThePoint) {
  const auto policy = GetParam().make();
  Points points(1);
  for (int i = 0; i < 20000; ++i) {
    const DecisionPoint point = points.next();
    const ActionDistribution d = policy->decide(point);
    ASSERT_NO_FATAL_FAILURE(expect_lawful(point, d)) << "point " << i;
    ASSERT_NO_FATAL_FAILURE(expect_lawful(point, explore(point, d, 0.3F))) << "explored, point " << i;
  }
}

TEST_P(ExitPolicyLaws, IsPure) {
  const auto policy = GetParam().make(), other = GetParam().make();
  Points points(2), again(2), rest(3);
  for (int i = 0; i < 2000; ++i) {
    const DecisionPoint point = points.next(), same = again.next();
    const ActionDistribution first = policy->decide(point);
    (void)policy->decide(rest.next());  // what it is asked in between changes nothing
    for (const ExitPolicy* asked : {policy.get(), other.get()}) {
      const ActionDistribution second = asked->decide(same);
      ASSERT_EQ(first.entries().size(), second.entries().size());
      for (const auto& entry : first.entries())
        ASSERT_EQ(entry.probability, second.probability(entry.action)) << "point " << i;
    }
  }
}

TEST_P(ExitPolicyLaws, HasAName) {
  const auto policy = GetParam().make();
  EXPECT_FALSE(policy->name().empty());
  EXPECT_LE(policy->name().size(), 16U);  // a metric's label
}

INSTANTIATE_TEST_SUITE_P(All, ExitPolicyLaws, testing::ValuesIn(makers()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace leadline::policy
