// What every compression method owes: one row per method. A new method adds its row here and in
// method_table.cpp, and nothing else.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/unit/worker/compression/sample_head.h"
#include "worker/compression/budget.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;

struct Row {
  const char* name;
  ReuseClass reuse;
  bool merges;
  bool keeps_all = false;
};

class MethodLaws : public ::testing::TestWithParam<Row> {
 protected:
  [[nodiscard]] const CompressionMethod& method() const { return *find_method(GetParam().name); }
  [[nodiscard]] CompressionParams params(float ratio) const {
    CompressionParams p;
    p.ratio = ratio;
    p.method = static_cast<std::uint8_t>(&method() - compression_methods().data());
    return p;
  }
};

TEST_P(MethodLaws, IsInTheTableAndConsistent) {
  ASSERT_NE(find_method(GetParam().name), nullptr);
  EXPECT_EQ(check(method()), "");
  EXPECT_EQ(method().traits.reuse, GetParam().reuse);
  EXPECT_EQ(method().traits.merges, GetParam().merges);
  EXPECT_NE(method_names().find(GetParam().name), std::string::npos);
}

TEST_P(MethodLaws, ARatioOfOneIsTheIdentity) {
  for (const std::uint32_t slots : {1U, 5U, 16U, 333U}) {
    const SampleHead head(slots);
    EXPECT_EQ(decide(method(), params(1), head.input), all_slots(slots));
    EXPECT_TRUE(keeps_everything(method(), params(1), slots));
    CompressionParams tokens = params(1);
    tokens.tokens = slots;
    EXPECT_EQ(decide(method(), tokens, head.input), all_slots(slots));
    tokens.tokens = slots + 100;
    EXPECT_EQ(decide(method(), tokens, head.input), all_slots(slots));
  }
}

TEST_P(MethodLaws, KeepsItsBudgetOverTheLayers) {
  if (GetParam().keeps_all) return;
  for (const std::uint32_t slots : {40U, 257U, 1000U})
    for (const float ratio : {0.5F, 0.35F, 0.2F, 0.12F}) {
      std::size_t kept = 0;
      for (std::uint32_t layer = 0; layer < 8; ++layer) {
        SampleHead head(slots, layer + 1);
        head.input.layer = layer;
        kept += decide(method(), params(ratio), head.input).size();
      }
      const double budget = 8.0 * mean_budget(params(ratio), slots);
      EXPECT_LE(kept, budget + 1e-9) << slots << " at " << ratio;
      EXPECT_GE(kept, budget * 0.8 - 8 * 8) << slots << " at " << ratio;
    }
}

TEST_P(MethodLaws, GroupsAreOrderedAndPinsStayAlone) {
  if (GetParam().keeps_all) return;
  const std::uint32_t slots = 400;
  const SampleHead head(slots);
  const SlotGroups groups = decide(method(), params(0.3F), head.input);
  std::set<std::uint32_t> seen, alone;
  std::int64_t last_first = -1;
  for (std::uint32_t g = 0; g < groups.size(); ++g) {
    const auto members = groups.group(g);
    ASSERT_FALSE(members.empty());
    EXPECT_GT(static_cast<std::int64_t>(members[0]), last_first);
    last_first = members[0];
    EXPECT_TRUE(std::is_sorted(members.begin(), members.end()));
    for (const std::uint32_t slot : members) {
      EXPECT_LT(slot, slots);
      EXPECT_TRUE(seen.insert(slot).second) << "slot " << slot << " twice";
    }
    if (members.size() == 1) alone.insert(members[0]);
  }
  EXPECT_EQ(groups.merges(), GetParam().merges);
  const std::uint32_t budget = method().budget(params(0.3F), slots, 2, 8);
  const std::uint32_t quarter = budget / 4;
  for (std::uint32_t i = 0; i < std::min(4U, quarter); ++i) EXPECT_TRUE(alone.contains(i)) << i;
  for (std::uint32_t i = 0; i < std::min(32U, quarter); ++i) EXPECT_TRUE(alone.contains(slots - 1 - i)) << i;
}

TEST_P(MethodLaws, APinnedPrefixStays) {
  if (GetParam().keeps_all) return;
  const SampleHead head(300);
  CompressionParams p = params(0.35F);
  p.pins.prefix = 50;
  const SlotGroups groups = decide(method(), p, head.input);
  for (std::uint32_t i = 0; i < 50; ++i) {
    ASSERT_EQ(groups.group(i).size(), 1U);
    EXPECT_EQ(groups.group(i)[0], i);
  }
}

// A prefix beyond half of the layer's budget: its first tokens up to there, and the recent window has its
// share.
TEST_P(MethodLaws, APrefixLongerThanItsShareStaysInPart) {
  if (GetParam().keeps_all) return;
  const SampleHead head(300);
  for (const std::uint32_t prefix : {90U, 300U, 1000U}) {
    CompressionParams p = params(0.35F);
    p.pins.prefix = prefix;
    const std::uint32_t budget = method().budget(p, 300, head.input.layer, head.input.layers);
    const SlotGroups groups = decide(method(), p, head.input);
    EXPECT_LE(groups.size(), budget);
    for (std::uint32_t i = 0; i < std::min(prefix, budget / 2); ++i) {
      ASSERT_EQ(groups.group(i).size(), 1U);
      EXPECT_EQ(groups.group(i)[0], i);
    }
    for (std::uint32_t i = 1; i <= std::min(32U, budget / 4); ++i) {
      ASSERT_EQ(groups.group(groups.size() - i).size(), 1U);
      EXPECT_EQ(groups.group(groups.size() - i)[0], 300 - i);
    }
  }
}

TEST_P(MethodLaws, WithoutABudgetAPrefixStaysWhole) {
  if (!method().traits.by_threshold) return;
  const SampleHead head(256);
  CompressionParams p = params(1);
  p.by_threshold = true;
  p.threshold = -1;
  for (const std::uint32_t prefix : {0U, 200U, 256U}) {
    p.pins = {.first = 4, .recent = 0, .prefix = prefix};
    const SlotGroups groups = decide(method(), p, head.input);
    EXPECT_EQ(groups.merges(), prefix < 256);
    for (std::uint32_t i = 0; i < prefix; ++i) ASSERT_EQ(groups.group(i).size(), 1U) << i;
  }
}

TEST_P(MethodLaws, ReadsOnlyWhatItsTapsName) {
  SampleHead head(200);
  const std::uint8_t taps = method().traits.taps;
  const SlotGroups all = decide(method(), params(0.25F), head.input);
  if ((taps & kTapWindow) == 0) head.input.window = {};
  if ((taps & kTapColumns) == 0) head.input.columns = {};
  if ((taps & kTapKeys) == 0) head.input.keys = {};
  if ((taps & kTapTokens) == 0) head.input.tokens = {}, head.input.delimiters = {};
  EXPECT_EQ(decide(method(), params(0.25F), head.input), all);
}

TEST_P(MethodLaws, SmallPromptsAndOddValuesAreCut) {
  for (const std::uint32_t slots : {1U, 2U, 3U, 7U, 17U}) {
    SampleHead head(slots);
    std::fill(head.window.begin(), head.window.end(), NAN);
    std::fill(head.columns.begin(), head.columns.end(), INFINITY);
    std::fill(head.keys.begin(), head.keys.end(), 0.0F);
    const SlotGroups groups = decide(method(), params(0.12F), head.input);
    EXPECT_GE(groups.size(), 1U);
    EXPECT_LE(groups.size(), slots);
  }
}

INSTANTIATE_TEST_SUITE_P(All, MethodLaws,
                         ::testing::Values(Row{"full", ReuseClass::snapshot, false, true},
                                           Row{"random", ReuseClass::snapshot, false},
                                           Row{"streaming", ReuseClass::snapshot, false},
                                           Row{"h2o", ReuseClass::query_bound, false},
                                           Row{"snapkv", ReuseClass::query_bound, false},
                                           Row{"pyramidkv", ReuseClass::query_bound, false},
                                           Row{"keydiff", ReuseClass::snapshot, false},
                                           Row{"semanticache", ReuseClass::append, true},
                                           Row{"windowkv", ReuseClass::query_bound, false},
                                           Row{"knorm", ReuseClass::snapshot, false}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(MethodTable, EveryRowIsHeldToTheLaws) {
  std::size_t rows = 0;
  for (const CompressionMethod& method : compression_methods()) {
    EXPECT_EQ(find_method(method.name), &method) << "two methods of one name";
    ++rows;
  }
  const auto* suite = ::testing::UnitTest::GetInstance();
  std::set<std::string> held;
  for (int s = 0; s < suite->total_test_suite_count(); ++s)
    for (int t = 0; t < suite->GetTestSuite(s)->total_test_count(); ++t) {
      const std::string name = suite->GetTestSuite(s)->GetTestInfo(t)->name();
      if (name.rfind("IsInTheTableAndConsistent/", 0) == 0) held.insert(name.substr(name.find('/') + 1));
    }
  EXPECT_EQ(held.size(), rows) << "a method of the table has no row in MethodLaws";
}

}  // namespace
}  // namespace leadline::tests
