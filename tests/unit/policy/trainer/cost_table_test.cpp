#include "policy/trainer/cost_table.h"

#include <gtest/gtest.h>

namespace leadline::policy {
namespace {

constexpr const char* kText =
    "# a comment\nmade_by a test\nlayers 10\n"
    "layer 1 0 100\nlayer 4 0 130\nlayer 1 1000 200\nlayer 4 1000 260\nhead 1 50\nhead 3 70\nprobe 2\npass "
    "5\n";

TEST(CostTable, IsLinearBetweenItsPoints) {
  const auto table = CostTable::parse(kText);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_DOUBLE_EQ(table->layer_us(1, 0), 100);
  EXPECT_DOUBLE_EQ(table->layer_us(2, 0), 110);
  EXPECT_DOUBLE_EQ(table->layer_us(2, 500), (110 + 220) / 2.0);
  EXPECT_DOUBLE_EQ(table->layer_us(7, 0), 160) << "goes on like the last two";
  EXPECT_DOUBLE_EQ(table->layer_us(0, 500), 0);
  EXPECT_DOUBLE_EQ(table->head_us(2), 60);
  EXPECT_DOUBLE_EQ(table->probe_us(), 2);
  EXPECT_EQ(table->made_by(), "a test");
  const auto again = CostTable::parse(table->text());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->text(), table->text());
}

TEST(CostTable, RefusesWhatItCannotUse) {
  for (const char* text :
       {"", "layers 0\nlayer 1 0 1\nhead 1 1\n", "layers 10\nlayer 1 0 x\nhead 1 1\n",
        "layers 10\nlayer 1 0 1\nlayer 2 5 1\nhead 1 1\n", "layers 10\nlayer 1 0 -1\nhead 1 1\n",
        "layers 10\nlayer 1 0 1\nhead 1 1\nhead 1 2\n", "layers 10\nhead 1 1\n",
        "layers 10\nlayer 1 0 1\nhead 1 1\nsomething 4\n"}) {
    const auto table = CostTable::parse(text);
    ASSERT_FALSE(table) << text;
    EXPECT_EQ(table.error().code, Errc::malformed_file);
  }
}

}  // namespace
}  // namespace leadline::policy
