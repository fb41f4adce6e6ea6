#include "worker/runtime/step_size.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

TEST(StepSize, IsWhatWasAskedForWhereThatHoldsEverySequence) {
  EXPECT_EQ(choose_step_tokens({300, 64, false, true}), 300);
  EXPECT_EQ(choose_step_tokens({16, 64, true, false}), 64);
}

TEST(StepSize, IsSmallOnCpusOfOneHostAndLargeWhereAStepCostsMore) {
  EXPECT_EQ(choose_step_tokens({0, 64, false, true}), 128);
  EXPECT_EQ(choose_step_tokens({0, 64, true, true}), 512);
  EXPECT_EQ(choose_step_tokens({0, 64, false, false}), 512);
  EXPECT_EQ(choose_step_tokens({0, 200, false, true}), 200);
}

}  // namespace
}  // namespace leadline::worker
