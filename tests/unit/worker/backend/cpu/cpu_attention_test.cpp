#include "worker/backend/cpu/cpu_attention.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

SequenceRows sequence(std::int32_t first_row, std::int32_t rows, std::int32_t before) {
  SequenceRows s;
  s.first_row = first_row;
  s.rows = rows;
  s.kv_before = before;
  return s;
}

// Every (sequence, row, query head, split that the row sees) is in exactly one item, and every item has one
// thread.
void expect_whole(const AttentionShape& shape, const std::vector<SequenceRows>& sequences, int threads) {
  const AttentionPlan plan = plan_attention(shape, sequences, threads);
  ASSERT_EQ(plan.share.size(), size_t(threads) + 1);
  EXPECT_EQ(plan.share.front(), 0);
  EXPECT_EQ(plan.share.back(), std::int64_t(plan.items.size()));
  EXPECT_TRUE(std::is_sorted(plan.share.begin(), plan.share.end()));
  std::set<std::tuple<int, int, int, std::int64_t>> done;
  for (const AttentionItem& item : plan.items) {
    const AttentionTile& tile = plan.tiles[size_t(item.tile)];
    EXPECT_LE(tile.rows * tile.heads, kAttentionTile);
    EXPECT_EQ(tile.first_head / (shape.query_heads / shape.kv_heads), tile.kv_head);
    for (int r = 0; r < tile.rows; ++r)
      for (int h = 0; h < tile.heads; ++h)
        for (std::int64_t s = item.split_begin; s < item.split_end; ++s)
          EXPECT_TRUE(done.emplace(tile.sequence, tile.first_row + r, tile.first_head + h, s).second);
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    for (int r = 0; r < sequences[i].rows; ++r) {
      const std::int64_t last = std::int64_t{sequences[i].kv_before} + r;
      const std::int64_t from = shape.window > 0 ? std::max<std::int64_t>(0, last - shape.window + 1) : 0;
      for (int h = 0; h < shape.query_heads; ++h)
        for (std::int64_t s = from / kSplitSlots; s <= last / kSplitSlots; ++s)
          EXPECT_TRUE(done.contains({int(i), r, h, s})) << "row " << r << " head " << h << " split " << s;
    }
  }
}

TEST(AttentionPlan, CoversEveryRowHeadAndSplitOnce) {
  for (int threads : {1, 2, 5}) {
    expect_whole({8, 2, 64, 1, 0}, {sequence(0, 1, 0), sequence(1, 40, 300), sequence(41, 3, 5000)}, threads);
    expect_whole({40, 1, 64, 1, 0}, {sequence(0, 2, 1023)}, threads);
    expect_whole({6, 6, 64, 1, 300}, {sequence(0, 1, 4000), sequence(1, 20, 250)}, threads);
    expect_whole({4, 4, 64, 1, 0}, {}, threads);
  }
}

TEST(AttentionPlan, ALongDecodeIsSharedBetweenThreads) {
  const std::vector<SequenceRows> one = {sequence(0, 1, 16383)};
  const AttentionPlan plan = plan_attention({8, 1, 64, 1, 0}, one, 4);
  EXPECT_EQ(plan.tiles.size(), 1u);
  EXPECT_EQ(plan.items.size(), 64u);
  EXPECT_EQ(plan.partial_states, 64);
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(double(plan.share[t + 1] - plan.share[t]), 16, 1);
}

TEST(AttentionPlan, StoredStatesAreBounded) {
  std::vector<SequenceRows> many;
  for (int i = 0; i < 21; ++i) many.push_back(sequence(i, 1, 110000));
  const AttentionPlan plan = plan_attention({8, 1, 64, 1, 0}, many, 8);
  EXPECT_GT(plan.partial_states, kMaxPartialStates / 2);
  EXPECT_LE(plan.partial_states, kMaxPartialStates);
}

TEST(AttentionPlan, WholeTilesWhereTheyFillTheThreads) {
  const std::vector<SequenceRows> one = {sequence(0, 1, 16383)};
  const AttentionPlan even = plan_attention({32, 4, 64, 1, 0}, one, 2);
  EXPECT_EQ(even.partial_states, 0);
  EXPECT_EQ(even.share[1], 2);
  EXPECT_GT(plan_attention({24, 3, 64, 1, 0}, one, 2).partial_states, 0);
}

TEST(AttentionPlan, AWindowLeavesOutEarlySplits) {
  const std::vector<SequenceRows> one = {sequence(0, 1, 10000)};
  const AttentionPlan plan = plan_attention({1, 1, 64, 1, 100}, one, 1);
  EXPECT_EQ(plan.tiles[0].split_begin, (10000 - 99) / kSplitSlots);
  EXPECT_EQ(plan.tiles[0].split_end, 10000 / kSplitSlots + 1);
}

}  // namespace
}  // namespace leadline::worker::cpu
