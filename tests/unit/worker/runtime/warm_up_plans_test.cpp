// What a worker runs before it is ready, from its limits alone.

#include "worker/runtime/warm_up_plans.h"

#include <gtest/gtest.h>

#include <set>

#include "worker/backend/kv_view.h"
#include "worker/backend/step_bucket.h"

namespace leadline::worker {
namespace {

TEST(StepBucket, HoldsItsCountAndWastesLessThanHalf) {
  static_assert(step_bucket(1) == 1 && step_bucket(3) == 4 && step_bucket(9) == 16 && step_bucket(17) == 24);
  std::set<std::int32_t> buckets;
  for (std::int32_t n = 1; n <= 1024; ++n) {
    const std::int32_t bucket = step_bucket(n);
    EXPECT_GE(bucket, n);
    EXPECT_LT(bucket, 2 * n);
    EXPECT_EQ(step_bucket(bucket), bucket);
    buckets.insert(bucket);
  }
  EXPECT_EQ(buckets.size(), 17U) << "few enough to record all at start";
}

TEST(WarmUpPlans, OnTheCpuOneSmallStep) {
  const auto plans = warm_up_plans({64, 512, 4096});
  ASSERT_EQ(plans.size(), 1U);
  EXPECT_EQ(plans[0].sequences.size(), 1U);
}

TEST(WarmUpPlans, OnADeviceEveryShapeTwiceAfterTheLargestPrompt) {
  const WarmUpLimits limits{20, 512, 3000, true, true};
  const auto plans = warm_up_plans(limits);
  EXPECT_EQ(plans[0].sequences[0].tokens.size(), 512U);
  std::set<std::pair<std::int32_t, std::uint32_t>> shapes;
  const std::size_t half = (plans.size() - 1) / 2;
  for (std::size_t i = 1; i < plans.size(); ++i) {
    const StepPlan& plan = plans[i];
    if (i <= half) {
      EXPECT_EQ(plan, plans[i + half]) << "the second round is the first";
    }
    ASSERT_LE(plan.sequences.size(), 20U);
    const SequenceStep& s = plan.sequences.front();
    EXPECT_LT(s.first_position, 3000U);
    EXPECT_GE(s.table.size() * kPageTokens, s.kv_before + 1);
    for (const PageId page : s.table) EXPECT_EQ(page, PageId{0});
    shapes.insert({step_bucket(static_cast<std::int32_t>(plan.sequences.size())), s.kv_before + 1});
  }
  EXPECT_EQ(shapes.size(), half);
  EXPECT_EQ(half, 6U * 5U) << "1, 2, 4, 8, 16, 24 by 256, 512, 1024, 2048, 3000 slots";
}

TEST(WarmUpPlans, RoundsOfEveryExitWithinTheLimits) {
  WarmUpLimits limits{4, 512, 1000, true, true};
  const std::size_t decodes = warm_up_plans(limits).size();
  limits.exits = {2, 5};
  limits.max_draft_rows = 8;
  const auto plans = warm_up_plans(limits);
  std::set<std::pair<int, std::size_t>> seen;  // exit, rows of verification
  for (const StepPlan& plan : plans) {
    std::size_t drafts = 0;
    for (const SequenceStep& s : plan.sequences) {
      drafts += s.round.max_draft;
      EXPECT_GE(s.table.size() * kPageTokens, s.kv_before + s.tokens.size() + s.round.max_draft);
      EXPECT_LT(s.kv_before + s.round.max_draft, 1000U);
    }
    EXPECT_LE(drafts, 8U);
    if (drafts > 0) seen.insert({plan.sequences[0].round.exit, plan.sequences.size() + drafts});
  }
  for (const int exit : {2, 5})
    for (const std::size_t rows : {2U, 4U, 8U})
      EXPECT_TRUE(seen.contains({exit, rows})) << exit << ", " << rows << " rows";
  EXPECT_GT(plans.size(), decodes);
  limits.exits.assign(40, 1);
  EXPECT_LE(warm_up_plans(limits).size(), decodes + 2 * kMaxWarmUpRounds);
}

TEST(WarmUpPlans, WithoutRecordsADeviceRunsTheLargestPromptOnly) {
  const auto plans = warm_up_plans({20, 512, 3000, true});
  ASSERT_EQ(plans.size(), 1U);
  EXPECT_EQ(plans[0].sequences[0].tokens.size(), 512U);
}

TEST(WarmUpPlans, LimitsSmallerThanASplit) {
  const auto plans = warm_up_plans({1, 16, 16, true, true});
  ASSERT_EQ(plans.size(), 3U);
  EXPECT_EQ(plans[0].sequences[0].tokens.size(), 16U);
  EXPECT_EQ(plans[1].sequences[0].kv_before, 15U);
}

}  // namespace
}  // namespace leadline::worker
