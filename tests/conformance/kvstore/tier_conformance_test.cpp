// The laws of kvstore/tier.h, for every tier. A tier joins by a row at the end.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "kvstore/disk_tier.h"
#include "kvstore/eviction/ranked.h"
#include "kvstore/memory_tier.h"
#include "kvstore/redis_tier.h"
#include "tests/support/redis_server.h"
#include "tests/support/sample_block.h"
#include "tests/support/scratch_directory.h"

namespace leadline::kvstore {
namespace {

using tests::sample_block;

struct TierSetup {
  std::uint64_t capacity_bytes = 1 << 20;
  TierEvents events;
  UnixClock unix_now = [] { return std::uint64_t{1'000}; };
};
struct TierCase {
  std::string name;
  std::function<std::unique_ptr<Tier>(const TierSetup&)> make;  // an empty one; null: skipped, it printed why
  bool bounded = true;                                          // by us
  bool own_clock = true;  // expiry by the tier's clock, not by a server's
};

TierDeadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(5);
}

class TierLaws : public ::testing::TestWithParam<TierCase> {
 protected:
  std::unique_ptr<Tier> make(const TierSetup& setup = {}) {
    auto tier = GetParam().make(setup);
    return tier;
  }
  static TierRead get(Tier& tier, const BlockId& id) {
    TierRead read;
    tier.get({&id, 1}, {&read, 1}, soon());
    return read;
  }
};

#define MAKE_TIER(...)           \
  auto tier = make(__VA_ARGS__); \
  if (tier == nullptr) GTEST_SKIP() << "no server for it"

TEST_P(TierLaws, GivesBackTheBytesThatWerePut) {
  MAKE_TIER();
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(tier->put(sample_block(1, i, i % 3, 100 + 37 * static_cast<std::size_t>(i)), soon()),
              PutOutcome::stored);
  for (int i = 0; i < 8; ++i) {
    const BlockPtr want = sample_block(1, i, i % 3, 100 + 37 * static_cast<std::size_t>(i));
    const TierRead read = get(*tier, want->header().id);
    ASSERT_EQ(read.outcome, GetOutcome::hit);
    EXPECT_TRUE(std::ranges::equal(read.block->bytes(), want->bytes()));
    EXPECT_EQ(read.block->header(), want->header());
  }
}

TEST_P(TierLaws, AnotherHeadOrKeyIsAMiss) {
  MAKE_TIER();
  ASSERT_EQ(tier->put(sample_block(1, 0, 0), soon()), PutOutcome::stored);
  EXPECT_EQ(get(*tier, sample_block(1, 0, 1)->header().id).outcome, GetOutcome::miss);
  EXPECT_EQ(get(*tier, sample_block(2, 0, 0)->header().id).outcome, GetOutcome::miss);
}

TEST_P(TierLaws, ReadsManyAtOnceAndCountsTheLeadingOnes) {
  MAKE_TIER();
  std::vector<BlockId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(sample_block(4, i)->header().id);
  for (int i = 0; i < 40; ++i)
    if (i != 29) {
      ASSERT_EQ(tier->put(sample_block(4, i), soon()), PutOutcome::stored);
    }
  EXPECT_EQ(tier->leading(ids, soon()), 29U);
  EXPECT_EQ(tier->leading(std::span(ids).subspan(30), soon()), 10U);
  EXPECT_EQ(tier->leading({}, soon()), 0U);
  std::vector<TierRead> reads(ids.size());
  tier->get(ids, reads, soon());
  for (int i = 0; i < 40; ++i)
    EXPECT_EQ(reads[static_cast<std::size_t>(i)].outcome, i == 29 ? GetOutcome::miss : GetOutcome::hit) << i;
}

TEST_P(TierLaws, ASecondPutOfTheSameIsPresent) {
  MAKE_TIER();
  ASSERT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  const std::uint64_t bytes = tier->usage().bytes;
  EXPECT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::present);
  EXPECT_EQ(tier->usage().bytes, bytes);
}

TEST_P(TierLaws, ErasedIsAMissAndGivesItsBytesBack) {
  MAKE_TIER();
  ASSERT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  EXPECT_TRUE(tier->erase(sample_block(1, 0)->header().id, soon()));
  EXPECT_FALSE(tier->erase(sample_block(1, 0)->header().id, soon()));
  EXPECT_EQ(get(*tier, sample_block(1, 0)->header().id).outcome, GetOutcome::miss);
  EXPECT_EQ(tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
}

TEST_P(TierLaws, ExpiredIsAMiss) {
  std::atomic<std::uint64_t> now{1'000};
  TierSetup setup;
  setup.unix_now = [&now] { return now.load(); };
  MAKE_TIER(setup);
  const BlockPtr block = sample_block(1, 0, 0, 100, 1'100);
  ASSERT_EQ(tier->put(block, soon()), PutOutcome::stored);
  EXPECT_EQ(get(*tier, block->header().id).outcome, GetOutcome::hit);
  now = 1'100;
  if (GetParam().own_clock) {
    EXPECT_EQ(tier->leading({&block->header().id, 1}, soon()), 0U);
  }
  EXPECT_EQ(get(*tier, block->header().id).outcome, GetOutcome::miss);
}

TEST_P(TierLaws, StaysWithinItsCapacityAndTellsWhatLeft) {
  if (!GetParam().bounded) GTEST_SKIP() << "its server bounds it";
  std::atomic<int> evicted{0}, reused{0};
  TierSetup setup;
  setup.capacity_bytes = 256 << 10;
  setup.events.evicted = [&](std::uint32_t, std::uint64_t) { ++evicted; };
  setup.events.reused_after_eviction = [&](double ago) {
    EXPECT_GE(ago, 0);
    ++reused;
  };
  MAKE_TIER(setup);
  for (int i = 0; i < 400; ++i) {
    (void)tier->put(sample_block(i / 4, i % 4, 0, 4000), soon());
    const TierUsage usage = tier->usage();
    ASSERT_LE(usage.bytes, usage.capacity_bytes);
    ASSERT_EQ(usage.capacity_bytes, setup.capacity_bytes);
  }
  EXPECT_GT(tier->usage().blocks, 20U);
  EXPECT_GT(evicted, 300);
  for (int i = 0; i < 400; ++i) (void)tier->put(sample_block(i / 4, i % 4, 0, 4000), soon());
  EXPECT_GT(reused, 0);
  EXPECT_EQ(tier->put(sample_block(900, 0, 0, 300 << 10), soon()), PutOutcome::full);
}

TEST_P(TierLaws, ABlockInUseOutlivesItsEviction) {
  TierSetup setup;
  setup.capacity_bytes = 64 << 10;
  MAKE_TIER(setup);
  const BlockPtr want = sample_block(1, 0, 0, 4000);
  ASSERT_EQ(tier->put(sample_block(1, 0, 0, 4000), soon()), PutOutcome::stored);
  const TierRead read = get(*tier, want->header().id);
  ASSERT_EQ(read.outcome, GetOutcome::hit);
  (void)tier->erase(want->header().id, soon());
  for (int i = 0; i < 100; ++i) (void)tier->put(sample_block(2 + i, 0, 0, 4000), soon());
  EXPECT_TRUE(std::ranges::equal(read.block->bytes(), want->bytes()));
}

TEST_P(TierLaws, ManyThreadsSeeWholeBlocksOnly) {
  TierSetup setup;
  setup.capacity_bytes = 128 << 10;  // eviction all the time
  MAKE_TIER(setup);
  std::atomic<int> hits{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 150; ++round) {
        const int chain = (round * 7 + t) % 30;
        const BlockPtr block = sample_block(chain, 0, 0, 4000);
        if (t % 2 == 0) (void)tier->put(block, soon());
        const TierRead read = get(*tier, block->header().id);
        if (read.outcome != GetOutcome::hit) continue;
        ++hits;
        EXPECT_TRUE(std::ranges::equal(read.block->bytes(), block->bytes()));
        if (round % 10 == 0) (void)tier->erase(block->header().id, soon());
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_GT(hits, 0);
}

// A learned ranker that is obeyed: what was used last is used next.
TierIndexOptions ranked() {
  class Ranker final : public ReuseRanker {
    bool rank(std::span<const ReuseFeatures> blocks, std::span<float> seconds) const override {
      for (std::size_t i = 0; i < blocks.size(); ++i) seconds[i] = 1 + blocks[i][4];
      return true;
    }
  };
  static const Ranker ranker;
  TierIndexOptions index;
  index.eviction = [](std::uint64_t capacity) {
    return std::make_unique<RankedEviction>(RankedOptions{.capacity_bytes = capacity, .shadow = false},
                                            ranker, [] { return 0.0; });
  };
  return index;
}

std::unique_ptr<Tier> memory_with(const TierSetup& s, TierIndexOptions index) {
  return std::make_unique<MemoryTier>(
      MemoryTierOptions{s.capacity_bytes, std::move(index), s.events, s.unix_now});
}
std::unique_ptr<Tier> make_memory(const TierSetup& s) {
  return memory_with(s, {});
}
std::unique_ptr<Tier> make_ranked_memory(const TierSetup& s) {
  return memory_with(s, ranked());
}

std::unique_ptr<Tier> disk_with(const TierSetup& s, TierIndexOptions index) {
  static std::vector<std::unique_ptr<tests::ScratchDirectory>> directories;  // until the program ends
  directories.push_back(std::make_unique<tests::ScratchDirectory>());
  DiskTierOptions options;
  options.directory = directories.back()->path();
  options.capacity_bytes = s.capacity_bytes;
  options.events = s.events;
  options.unix_now = s.unix_now;
  options.index = std::move(index);
  auto tier = DiskTier::open(std::move(options));
  EXPECT_TRUE(tier);
  (*tier)->scan(std::atomic<bool>{false});
  return std::move(*tier);
}

std::unique_ptr<Tier> make_disk(const TierSetup& s) {
  return disk_with(s, {});
}
std::unique_ptr<Tier> make_ranked_disk(const TierSetup& s) {
  return disk_with(s, ranked());
}

std::unique_ptr<Tier> make_redis(const TierSetup& s) {
  static const auto server = tests::RedisServer::make();  // until the program ends
  if (server == nullptr) return nullptr;
  RedisTierOptions options;
  options.link.url = parse_redis_url(server->url()).value();
  options.unix_now = s.unix_now;
  RedisLink link(options.link);
  const RedisLink::Words empty[] = {{"FLUSHALL"}};
  EXPECT_TRUE(link.exchange(empty, soon()));
  return std::make_unique<RedisTier>(std::move(options));
}

INSTANTIATE_TEST_SUITE_P(Tiers, TierLaws,
                         ::testing::Values(TierCase{"memory", make_memory}, TierCase{"disk", make_disk},
                                           TierCase{"ranked_memory", make_ranked_memory},
                                           TierCase{"ranked_disk", make_ranked_disk},
                                           TierCase{"redis", make_redis, false, false}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace leadline::kvstore
