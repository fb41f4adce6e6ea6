#include "worker/speculative/candidate_exits.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

TEST(CandidateExits, TheShallowHalfOfAnyModel) {
  EXPECT_EQ(default_exits(32), (std::vector<std::int32_t>{2, 4, 6, 8, 10, 12, 14, 16}));
  EXPECT_EQ(default_exits(12), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(default_exits(24), (std::vector<std::int32_t>{2, 3, 5, 6, 8, 9, 11, 12}));
  EXPECT_EQ(default_exits(2), (std::vector<std::int32_t>{1}));
  EXPECT_TRUE(default_exits(1).empty());
  for (std::int32_t layers = 1; layers < 200; ++layers) {
    std::int32_t before = 0;
    for (const std::int32_t exit : default_exits(layers)) {
      EXPECT_GT(exit, before);
      EXPECT_LT(exit, layers);
      before = exit;
    }
  }
}

}  // namespace
}  // namespace leadline::worker
