#include "policy/speculation_guard.h"

#include <gtest/gtest.h>

namespace leadline::policy {
namespace {

// A machine where a token takes `plain` us without drafts and `drafted` us with.
struct World {
  double plain = 100, drafted = 60;
};

struct Ran {
  double us = 0, tokens = 0;
  int speculated = 0;
  [[nodiscard]] double per_token() const { return us / tokens; }
};

Ran run(SpeculationGuard& guard, const World& world, int steps, std::uint32_t decoding = 1) {
  Ran all;
  for (int i = 0; i < steps; ++i) {
    const bool speculated = guard.choose(decoding) == GuardChoice::speculate;
    StepCost step;
    step.decoding = decoding;
    step.speculated = speculated;
    step.tokens = speculated ? 3.0 * decoding : decoding;
    step.us = step.tokens * (speculated ? world.drafted : world.plain);
    guard.observe(step);
    all.us += step.us;
    all.tokens += step.tokens;
    all.speculated += speculated ? 1 : 0;
  }
  return all;
}

TEST(SpeculationGuard, LetsSpeculationRunWhereItPays) {
  SpeculationGuard guard;
  const Ran all = run(guard, {100, 60}, 2000);
  EXPECT_GT(all.speculated, 1900);
  EXPECT_FALSE(guard.is_off(1));
  EXPECT_NEAR(guard.saving(1), 40, 1e-6);
  EXPECT_GT(guard.totals().saved_us, 0);
  EXPECT_EQ(guard.totals().lost_us, 0);
}

TEST(SpeculationGuard, SwitchesOffWhereItLosesAndKeepsTrialsWithinTheirBudget) {
  SpeculationGuard guard;
  run(guard, {100, 300}, 200);  // both sides become known
  EXPECT_TRUE(guard.is_off(1));
  const Ran later = run(guard, {100, 300}, 20000);
  EXPECT_LT(later.per_token(), 100 * 1.02) << "within 2 % of plain";
  EXPECT_GT(guard.totals().trials, 1U) << "it did try again";
  EXPECT_EQ(guard.totals().switched_off, 1U);
}

TEST(SpeculationGuard, ComesBackWhenItPaysAgain) {
  SpeculationGuard guard;
  run(guard, {100, 300}, 1000);
  ASSERT_TRUE(guard.is_off(1));
  const Ran after = run(guard, {100, 50}, 5000);
  EXPECT_FALSE(guard.is_off(1));
  EXPECT_GT(after.speculated, 2000);
  run(guard, {100, 200}, 2000);
  EXPECT_TRUE(guard.is_off(1)) << "and goes again when it loses again";
}

TEST(SpeculationGuard, BucketsAreJudgedApart) {
  SpeculationGuard guard;
  run(guard, {100, 50}, 500, 1);
  run(guard, {100, 200}, 500, 16);
  EXPECT_FALSE(guard.is_off(1));
  EXPECT_TRUE(guard.is_off(16));
  EXPECT_TRUE(guard.is_off(31)) << "the same bucket";
  EXPECT_FALSE(guard.is_off(2));
  EXPECT_EQ(SpeculationGuard::bucket_of(0), 0U);
  EXPECT_EQ(SpeculationGuard::bucket_of(1U << 31), kGuardBuckets - 1);
}

TEST(SpeculationGuard, MixedAndImpossibleStepsAreNotCounted) {
  SpeculationGuard guard;
  for (int i = 0; i < 100; ++i) {
    guard.observe({1, 1e9, 1, true, true});
    guard.observe({1, 0, 1, true, false});
    guard.observe({1, 100, 0, true, false});
  }
  EXPECT_EQ(guard.choose(1), GuardChoice::plain) << "still nothing known";
  EXPECT_EQ(guard.saving(1), 0);
}

TEST(SpeculationGuard, IsAFunctionOfWhatItSaw) {
  SpeculationGuard first, second;
  run(first, {100, 120}, 333);
  run(second, {100, 120}, 333);
  EXPECT_EQ(first.choose(1), second.choose(1));
  EXPECT_EQ(first.totals().lost_us, second.totals().lost_us);
}

}  // namespace
}  // namespace leadline::policy
