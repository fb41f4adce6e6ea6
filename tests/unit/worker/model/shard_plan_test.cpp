#include "worker/model/shard_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

using ::testing::HasSubstr;

ModelConfig dimensions(int query_heads, int kv_heads, int head_dim, int ffn, int vocab) {
  ModelConfig c;
  c.hidden = query_heads * head_dim;
  c.query_heads = query_heads;
  c.kv_heads = kv_heads;
  c.head_dim = head_dim;
  c.ffn = ffn;
  c.vocab = vocab;
  c.layers = 1;
  return c;
}

TEST(ShardPlan, RanksTileEveryTensor) {
  for (const int ranks : {1, 2, 4, 8}) {
    const ModelConfig c = dimensions(32, 8, 128, 14336, 128256);
    std::int64_t query = 0, kv = 0, ffn = 0, vocab = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto plan = ShardPlan::make(c, rank, ranks);
      ASSERT_TRUE(plan) << plan.error().message;
      EXPECT_EQ(plan->query_heads.begin, query);
      EXPECT_EQ(plan->kv_heads.begin, kv);
      EXPECT_EQ(plan->ffn.begin, ffn);
      EXPECT_EQ(plan->vocab.begin, vocab);
      EXPECT_EQ(plan->o_slices * ranks, 8);
      EXPECT_EQ(plan->down_slices * ranks, 8);
      query = plan->query_heads.end(), kv = plan->kv_heads.end(), ffn = plan->ffn.end(),
      vocab = plan->vocab.end();
    }
    EXPECT_EQ(query, 32);
    EXPECT_EQ(kv, 8);
    EXPECT_EQ(ffn, 14336);
    EXPECT_EQ(vocab, 128256);
  }
}

TEST(ShardPlan, SmallVocabulariesLeaveTheLastRanksEmpty) {
  std::int64_t rows = 0;
  for (int rank = 0; rank < 8; ++rank) {
    const auto plan = ShardPlan::make(dimensions(8, 8, 8, 64, 83), rank, 8);
    ASSERT_TRUE(plan);
    EXPECT_GE(plan->vocab.count, 0);
    EXPECT_EQ(plan->vocab.begin, std::min<std::int64_t>(rank * plan->vocab_share, 83));
    rows += plan->vocab.count;
  }
  EXPECT_EQ(rows, 83);
}

TEST(ShardPlan, KvHeadsAreReplicatedWhereThereAreFewer) {
  for (int rank = 0; rank < 4; ++rank) {
    const auto plan = ShardPlan::make(dimensions(4, 2, 64, 640, 4096), rank, 4);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->kv_heads, (Range{rank / 2, 1}));
    // A rank's query heads read the KV head that it holds.
    EXPECT_EQ(plan->query_heads.begin / 2, plan->kv_heads.begin);
  }
}

TEST(ShardPlan, TreesOfFourOrFewerWhereEightDoesNotDivide) {
  const auto four = ShardPlan::make(dimensions(4, 4, 16, 100, 64), 0, 2);
  ASSERT_TRUE(four);
  EXPECT_EQ(four->down_slices * 2, 4);
  EXPECT_EQ(four->o_slices * 2, 8);
  const auto one = ShardPlan::make(dimensions(4, 4, 16, 101, 64), 0, 1);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->down_slices, 1);
}

TEST(ShardPlan, RefusesWhatDoesNotDivide) {
  const auto message = [](const ModelConfig& c, int ranks) {
    const auto plan = ShardPlan::make(c, 0, ranks);
    return plan ? "accepted" : plan.error().message;
  };
  EXPECT_THAT(message(dimensions(4, 4, 16, 96, 64), 3), HasSubstr("ranks = 3"));
  EXPECT_THAT(message(dimensions(6, 6, 16, 96, 64), 4), HasSubstr("num_attention_heads = 6"));
  EXPECT_THAT(message(dimensions(12, 3, 16, 96, 64), 4), HasSubstr("num_key_value_heads = 3"));
  EXPECT_THAT(message(dimensions(8, 8, 16, 100, 64), 8), HasSubstr("intermediate_size = 100"));
}

}  // namespace
}  // namespace leadline::worker
