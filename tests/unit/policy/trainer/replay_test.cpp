#include "policy/trainer/replay.h"

#include <gtest/gtest.h>

#include "policy/decision_draw.h"
#include "policy/del_policy.h"
#include "policy/fixed_policy.h"
#include "policy/trainer/reward.h"
#include "tests/unit/policy/trainer/trace_samples.h"

namespace leadline::policy {
namespace {

constexpr double kPlainUs = 3 + 100 + 20 + 1;

TEST(Replay, PlainStepsCostAllLayersAndOneHead) {
  const DecodeTrace trace = trace_of({"110101"});
  const ReplayResult r = replay(trace, answers_of(trace), *make_off_policy(), flat_costs(), {});
  EXPECT_DOUBLE_EQ(r.tokens, 6);
  EXPECT_DOUBLE_EQ(r.us, 6 * kPlainUs);
  EXPECT_DOUBLE_EQ(r.rounds, 0);
}

// By hand: exit 2, two drafts. "110" + "101" + ...: round 1 (at 0): drafts 1, 1 stand -> 3 tokens. Round 2
// (at 3): draft 1 stands, draft 0 does not -> 2 tokens. Round 3 (at 5): one token is left, so a plain step.
TEST(Replay, AStaticRoundByHand) {
  const DecodeTrace trace = trace_of({"110101"});
  const ReplayResult r = replay(trace, answers_of(trace), *make_static_policy(2, 2), flat_costs(), {});
  EXPECT_DOUBLE_EQ(r.tokens, 6);
  EXPECT_DOUBLE_EQ(r.rounds, 2);
  EXPECT_DOUBLE_EQ(r.drafted, 4);
  EXPECT_DOUBLE_EQ(r.accepted, 3);
  // 3 draft passes of 2 layers, 2 of them with head and probe; then 8 layers, one head, 3 probes.
  const double round = 3 * (3 + 20) + 2 * (20 + 1) + (3 + 80 + 20 + 3);
  EXPECT_DOUBLE_EQ(r.us, 2 * round + kPlainUs);
}

// A dropped draft: the head that saw it is paid, its pass is not run.
TEST(Replay, AThresholdStopsAtTheUnsureDraft) {
  const DecodeTrace trace = trace_of({"10"});
  const ReplayResult r = replay(trace, answers_of(trace),
                                *make_threshold_policy({.exit = 2, .threshold = 0.5F}), flat_costs(), {});
  // At 0 only one draft is possible: 2 passes, one head. It stands: 2 tokens.
  EXPECT_DOUBLE_EQ(r.us, 2 * 23.0 + 21 + (3 + 80 + 20 + 2));
  const DecodeTrace wrong = trace_of({"01"});
  const ReplayResult w = replay(wrong, answers_of(wrong),
                                *make_threshold_policy({.exit = 2, .threshold = 0.5F}), flat_costs(), {});
  // Round 1: one pass, head, stop; verify one row. Then a plain step.
  EXPECT_DOUBLE_EQ(w.us, (23 + 21 + 3 + 80 + 21) + kPlainUs);
  EXPECT_DOUBLE_EQ(w.drafted, 0);
}

TEST(Replay, AfterAMissTheBranchIsRead) {
  const DecodeTrace trace = trace_of({"0111111"});
  // The threshold lets the first, wrong draft pass only if its probability does: 0.2 >= 0.1; on the branch
  // all do.
  const ReplayResult r =
      replay(trace, answers_of(trace), *make_threshold_policy({.exit = 2, .max_draft = 3, .threshold = 0.1F}),
             flat_costs(), {});
  EXPECT_DOUBLE_EQ(r.accepted, 3 + 1) << "nothing of round 1, three of round 2, one of round 3";
}

TEST(Replay, NoPolicyBeatsTheOracle) {
  const DecodeTrace trace = trace_of({"110101110111", "000011110000", "101010101010"});
  const double best = oracle(trace, answers_of(trace), flat_costs(), 4).us;
  for (const std::int32_t exit : {2, 6})
    for (std::int32_t drafts = 1; drafts <= 4; ++drafts)
      EXPECT_LE(best,
                replay(trace, answers_of(trace), *make_static_policy(exit, drafts), flat_costs(), {}).us);
  EXPECT_LE(best, replay(trace, answers_of(trace), *make_off_policy(), flat_costs(), {}).us);
  EXPECT_LE(best, replay(trace, answers_of(trace), *make_del_policy(), flat_costs(), {}).us);
}

TEST(Replay, CostsOfTheLogAddUpToTheTime) {
  const DecodeTrace trace = trace_of({"110101110111", "000011110000", "101010101010", "111111111111"});
  for (const std::int32_t batch : {1, 3}) {
    double us = 0, tokens = 0, reward = 0;
    Lambda lambda;
    lambda.of.fill(0.01);
    ReplayOptions options;
    options.batch = batch;
    options.epsilon = 0.5F;
    options.sink = [&](const Trajectory& round) {
      tokens += round.tokens;
      for (std::size_t i = 0; i < round.decisions.size(); ++i) {
        us += round.decisions[i].cost_us;
        reward += reward_of(round, i, lambda);
        EXPECT_GT(round.decisions[i].propensity, 0);
      }
    };
    // The explored policy starts with climbs, whose rewards add up (a round_start's draft runs a draft
    // unseen).
    const ReplayResult r = replay(trace, answers_of(trace), *make_off_policy(), flat_costs(), options);
    EXPECT_NEAR(us, r.us, 1e-3 * r.us);
    EXPECT_DOUBLE_EQ(tokens, r.tokens);
    EXPECT_NEAR(reward, tokens - 0.01 * us, 1e-2);
  }
}

TEST(Replay, ABatchSharesItsPasses) {
  const DecodeTrace trace = trace_of({"111111111111", "111111111111", "111111111111", "111111111111"});
  const ReplayResult one = replay(trace, answers_of(trace), *make_static_policy(2, 3), flat_costs(), {});
  const ReplayResult four =
      replay(trace, answers_of(trace), *make_static_policy(2, 3), flat_costs(), {.batch = 4});
  EXPECT_LT(four.us_per_token(), 0.35 * one.us_per_token());
}

}  // namespace
}  // namespace leadline::policy
