#include "policy/sequence_experience.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace leadline::policy {
namespace {

TEST(SequenceExperience, TrailingIsTheMeanOverTheLastTwenty) {
  SequenceExperience e;
  EXPECT_FLOAT_EQ(e.trailing(), 0);
  e = observe(e, {0, 0, std::vector<float>{0.5F, 0.25F}, 0, {}});
  EXPECT_NEAR(e.trailing(), -(std::log(0.5F) + std::log(0.25F)) / 2, 1e-6);
  e = observe(e, {0, 0, std::vector<float>(20, 0.125F), 0, {}});
  EXPECT_NEAR(e.trailing(), -std::log(0.125F), 1e-6);
  e = observe(e, {0, 0, std::vector<float>(5, 1.0F), 0, {}});
  EXPECT_NEAR(e.trailing(), -std::log(0.125F) * 15 / 20, 1e-6);
}

TEST(SequenceExperience, AcceptanceStartsUndecidedAndDecays) {
  SequenceExperience e;
  EXPECT_FLOAT_EQ(e.recent_acceptance(), 0.5F);
  for (int i = 0; i < 60; ++i) e = observe(e, {4, 4, {}, 0, {}});
  EXPECT_GT(e.recent_acceptance(), 0.95F);
  EXPECT_NEAR(e.recent_run(), 4, 0.4);
  for (int i = 0; i < 60; ++i) e = observe(e, {4, 0, {}, 0, {}});
  EXPECT_LT(e.recent_acceptance(), 0.05F);
}

TEST(SequenceExperience, PlainStepsLeaveTheRecordOfDraftsAlone) {
  SequenceExperience e = observe({}, {4, 3, {}, 0, {}});
  const float before = e.recent_acceptance();
  for (int i = 0; i < 100; ++i) e = observe(e, {0, 0, std::vector<float>{0.9F}, 2, {}});
  EXPECT_FLOAT_EQ(e.recent_acceptance(), before);
  EXPECT_FLOAT_EQ(e.last_target_margin, 2);
}

// DEL: counts of matches and misses decay by omega = 0.95 per round.
TEST(SequenceExperience, ARoundStartsWithoutTheReadingsOfTheOneBefore) {
  const SequenceExperience e;
  ExitFeatures fresh, used;
  set_setting(fresh, {40, 2, 0.6F}, e);
  ProbeReading reading;
  reading.entropy = 2;
  reading.top1_probability = 0.5F;
  set_probe(used, reading);
  set_place(used, {1, 4, 12, 3, 0.25F}, e);
  set_setting(used, {40, 2, 0.6F}, e);
  for (std::size_t i = 0; i < kFeatureCount; ++i)
    EXPECT_EQ(used[static_cast<Feature>(i)], fresh[static_cast<Feature>(i)]) << kFeatureNames[i];
}

TEST(SequenceExperience, ExitCountsDecayPerRound) {
  const std::vector<ExitObservation> round{
      {1, true, 0.8F}, {1, true, 0.6F}, {1, false, 0.3F}, {2, false, 0.1F}};
  SequenceExperience e = observe({}, {2, 2, {}, 0, round});
  e = observe(e, {1, 1, {}, 0, std::vector<ExitObservation>{{1, true, 1.0F}}});
  EXPECT_NEAR(e.exits[1].match, 2 * 0.95 + 1, 1e-6);
  EXPECT_NEAR(e.exits[1].miss, 0.95, 1e-6);
  EXPECT_NEAR(e.exits[1].match_confidence, 1.4 * 0.95 + 1, 1e-6);
  EXPECT_NEAR(e.exits[2].miss_confidence, 0.1 * 0.95, 1e-6);
}

TEST(SequenceExperience, OutcomesThatCannotBeAreBounded) {
  const std::vector<ExitObservation> wild{{-1, true, 1}, {kMaxExits, true, 1}, {0, true, NAN}};
  const SequenceExperience e = observe({}, {2, 9, std::vector<float>{0.0F, NAN}, 0, wild});
  EXPECT_LE(e.recent_acceptance(), 1.0F);
  EXPECT_TRUE(std::isfinite(e.trailing()));
  EXPECT_TRUE(std::isfinite(e.exits[0].match_confidence));
}

}  // namespace
}  // namespace leadline::policy
