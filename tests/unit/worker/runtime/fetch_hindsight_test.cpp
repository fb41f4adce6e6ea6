#include "worker/runtime/fetch_hindsight.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

constexpr SequenceId kOne{1}, kTwo{2};

TEST(FetchHindsight, ComputingThatWasSlowerThanFetchingIsRegretted) {
  FetchHindsight hindsight;
  hindsight.passed_over(kOne, 160, 320, 0.25);
  EXPECT_EQ(hindsight.computed(kOne, 0, 160, 9.0), std::nullopt);   // not of the part
  EXPECT_EQ(hindsight.computed(kOne, 160, 80, 0.5), std::nullopt);  // half of it
  EXPECT_EQ(hindsight.computed(kTwo, 160, 160, 9.0), std::nullopt);
  EXPECT_EQ(hindsight.computed(kOne, 240, 160, 1.0), 0.5 + 0.5 - 0.25);  // the chunk goes on behind it
  EXPECT_FALSE(hindsight.watches());
  EXPECT_EQ(hindsight.computed(kOne, 400, 16, 1.0), std::nullopt);
}

TEST(FetchHindsight, ComputingThatWasFasterIsNot) {
  FetchHindsight hindsight;
  hindsight.passed_over(kOne, 0, 160, 2.0);
  EXPECT_EQ(hindsight.computed(kOne, 0, 160, 0.5), 0.0);
}

TEST(FetchHindsight, WhatTurnedUpOnTheDeviceCountsOnNeitherSide) {
  FetchHindsight hindsight;
  hindsight.passed_over(kOne, 0, 320, 0.5);
  EXPECT_EQ(hindsight.computed(kOne, 240, 80, 0.5), 0.5 - 0.5 / 4);
  hindsight.passed_over(kOne, 0, 160, 0.5);
  EXPECT_EQ(hindsight.computed(kOne, 160, 16, 7.0), 0.0);  // all of it
}

TEST(FetchHindsight, AForgottenSequenceIsNotWatched) {
  FetchHindsight hindsight;
  hindsight.passed_over(kOne, 0, 160, 0.0);
  EXPECT_TRUE(hindsight.watches());
  hindsight.forget(kOne);
  EXPECT_EQ(hindsight.computed(kOne, 0, 160, 1.0), std::nullopt);
}

}  // namespace
}  // namespace leadline::worker
