// The store over tiers that misbehave: slow, hung, damaged, foreign. Traps T2, T3, T5 of the survey.
#include "kvstore/tiered_store.h"

#include <gtest/gtest.h>

#include "monitoring/metrics.h"
#include "tests/support/gated_tier.h"
#include "tests/support/sample_block.h"

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;
using tests::GatedTier;
using tests::sample_block;
using tests::sample_header;
using tests::sample_key;

BlockDraft draft(int chain, int index, int head = 0, std::size_t bytes = 1024) {
  const BlockPtr sample = sample_block(chain, index, head, bytes);
  BlockDraft d(sample->header(), bytes);
  std::ranges::copy(sample->payload(), d.payload().begin());
  return d;
}

BlockRun run(int chain, int keys, std::size_t bytes = 1024) {
  BlockRun r;
  r.shape = sample_header(chain, 0, 0);
  r.shape.raw_bytes = bytes;
  for (int i = 0; i < keys; ++i) r.keys.push_back(sample_key(chain, i));
  r.parent = sample_key(chain, -1);
  r.heads = {0, 1};
  return r;
}

struct Rig {
  monitoring::MetricsRegistry registry;
  StoreMetrics metrics = StoreMetrics::create(registry);
  GatedTier* disk = nullptr;
  std::unique_ptr<TieredStore> store;

  explicit Rig(TieredStoreOptions options = {}, std::uint64_t memory = 0) {
    std::vector<std::unique_ptr<Tier>> tiers;
    if (memory > 0)
      tiers.push_back(std::make_unique<MemoryTier>(MemoryTierOptions{memory, {}, {}, unix_now_s}));
    auto gated = std::make_unique<GatedTier>(TierKind::disk);
    disk = gated.get();
    tiers.push_back(std::move(gated));
    store = std::make_unique<TieredStore>(std::move(tiers), options, metrics);
  }
  ~Rig() {
    disk->open_loads(true);
    disk->open_stores(true);
  }
  void put_chain(int chain, int keys, std::size_t bytes = 1024) {
    for (int i = 0; i < keys; ++i)
      for (const int head : {0, 1}) store->put(draft(chain, i, head, bytes));
  }
  [[nodiscard]] double stores(StoreEnd end) const { return metrics.of(TierKind::disk).stores[end].value(); }
  [[nodiscard]] double reads(ReadEnd end) const { return metrics.of(TierKind::disk).reads[end].value(); }
};

BlockFetchPtr wait_for(const BlockFetchPtr& fetch) {
  while (!fetch->finished()) std::this_thread::yield();
  return fetch;
}

TierDeadline in(std::chrono::milliseconds ms) {
  return Clock::now() + ms;
}

// The policy hears of a block what computing it again takes.
TEST(TieredStore, WhatAMissCostsReachesTheEvictionPolicy) {
  class Listener final : public EvictionPolicy {
   public:
    explicit Listener(std::vector<double>& costs) : costs_(costs) {}
    void insert(const BlockKey&, const BlockFacts& facts, double) override { costs_.push_back(facts.cost_s); }
    void touch(const BlockKey&, double) override {}
    void erase(const BlockKey&) override {}
    std::optional<BlockKey> evict(double) override { return std::nullopt; }
    [[nodiscard]] bool contains(const BlockKey&) const override { return false; }
    [[nodiscard]] std::uint64_t bytes() const override { return 0; }
    [[nodiscard]] std::size_t entries() const override { return 0; }
    [[nodiscard]] std::string_view name() const override { return "listener"; }

   private:
    std::vector<double>& costs_;
  };
  std::vector<double> costs;
  TieredStoreOptions options;
  options.cost = std::make_shared<RecomputeCost>();
  TierIndexOptions index;
  index.cost = options.cost;
  index.eviction = [&](std::uint64_t) { return std::make_unique<Listener>(costs); };
  std::vector<std::unique_ptr<Tier>> tiers;
  tiers.push_back(std::make_unique<MemoryTier>(MemoryTierOptions{1 << 20, index, {}, unix_now_s}));
  TieredStore store(std::move(tiers), options, {});
  store.put(draft(1, 0));
  store.wait_idle();
  store.learn_cost(0.5, 0.25);
  store.put(draft(1, 3));
  store.wait_idle();
  EXPECT_EQ(costs, (std::vector<double>{0.016, 0.5 + 3 * 0.25}));
}

// A fetch that hangs half way tells how far it came: how fast the tier is, is learned from that.
TEST(TieredStore, WhatCameBeforeAHangIsTold) {
  TieredStoreOptions options;
  options.load_batch = 4;
  Rig rig(options);
  rig.put_chain(1, 6);
  rig.store->wait_idle();
  rig.disk->open_loads(false);
  rig.disk->let_loads_pass(2);
  const BlockFetchPtr fetch = rig.store->fetch(run(1, 6), in(std::chrono::seconds(30)));
  while (fetch->leading() < 4) std::this_thread::yield();
  TierShare share;
  while (share.blocks < 8) share = fetch->shares()[static_cast<std::size_t>(TierKind::disk)];
  EXPECT_EQ(share.blocks, 8U);
  EXPECT_GT(share.seconds, 0);
  EXPECT_FALSE(fetch->finished());
}

// So that a disk reads on while blocks are checked.
TEST(TieredStore, TheNextBlocksAreAnnouncedBeforeTheseAreRead) {
  TieredStoreOptions options;
  options.load_batch = 4;  // of two heads: two keys
  Rig rig(options);
  rig.put_chain(1, 6);
  rig.store->wait_idle();
  EXPECT_EQ(wait_for(rig.store->fetch(run(1, 6), in(std::chrono::seconds(5))))->leading(), 6U);
  rig.store->wait_idle();
  EXPECT_EQ(rig.disk->order(), "eegegg");
}

TEST(TieredStore, WhatGoesInComesOutFromTheFirstTierThatHasIt) {
  Rig rig({}, 1 << 20);
  rig.put_chain(1, 5);
  rig.store->wait_idle();
  auto fetch = wait_for(rig.store->fetch(run(1, 6), in(std::chrono::seconds(5))));
  EXPECT_EQ(fetch->leading(), 5U);
  EXPECT_EQ(fetch->tier(4), TierKind::memory);
  EXPECT_TRUE(std::ranges::equal(fetch->block(3, 1)->payload(), sample_block(1, 3, 1)->payload()));
  EXPECT_EQ(rig.disk->usage().blocks, 10U);
}

TEST(TieredStore, ALowerTiersBlocksReturnToMemory) {
  Rig rig({}, 1 << 20);
  for (int i = 0; i < 3; ++i)
    for (const int head : {0, 1}) (void)rig.disk->put(sample_block(2, i, head), in(std::chrono::seconds(1)));
  EXPECT_EQ(wait_for(rig.store->fetch(run(2, 3), in(std::chrono::seconds(5))))->tier(2), TierKind::disk);
  const int gets = rig.disk->gets();
  EXPECT_EQ(wait_for(rig.store->fetch(run(2, 3), in(std::chrono::seconds(5))))->tier(2), TierKind::memory);
  EXPECT_EQ(rig.disk->gets(), gets);
}

// T3: a tier that never answers. The reader looks, sees what there is, and leaves.
TEST(TieredStore, T3_AHungTierHoldsUpNobody) {
  Rig rig({}, 1 << 20);
  rig.put_chain(1, 3);
  rig.store->wait_idle();
  rig.disk->open_loads(false);
  const auto fetch =
      rig.store->fetch(run(1, 6), in(std::chrono::milliseconds(20)));  // 3 in memory, 3 nowhere
  while (fetch->leading() < 3) std::this_thread::yield();
  EXPECT_FALSE(fetch->finished()) << "the tier is hung";
  fetch->abandon();
  rig.store->put(draft(7, 0));
  auto other =
      rig.store->fetch(run(1, 3), in(std::chrono::seconds(5)));  // all in memory: not behind the hung one
  EXPECT_EQ(wait_for(other)->leading(), 3U);
}

// T5: a tier that cannot keep up drops stores, holds a bounded number of bytes, and memory fills meanwhile.
TEST(TieredStore, T5_ASlowTierDropsStoresAndPinsLittle) {
  TieredStoreOptions options;
  options.queue_bytes = 64 << 10;
  Rig rig(options, 4 << 20);
  rig.disk->open_stores(false);
  for (int chain = 0; chain < 100; ++chain) {
    rig.put_chain(chain, 1, 4096);
    while (rig.store->of(TierKind::memory)->usage().blocks < 2U * static_cast<unsigned>(chain + 1))
      std::this_thread::yield();
  }
  EXPECT_GT(rig.stores(StoreEnd::dropped), 150);
  rig.store->publish();
  EXPECT_LE(rig.metrics.of(TierKind::disk).queued_bytes.value(), 64 << 10);
  EXPECT_EQ(wait_for(rig.store->fetch(run(99, 1, 4096), in(std::chrono::seconds(5))))->leading(), 1U);
}

// T2: a block of another model under this key is erased, is a miss at once, and is not asked for again.
TEST(TieredStore, T2_AForeignBlockIsErasedAndCounted) {
  Rig rig;
  for (int i = 0; i < 3; ++i)
    for (const int head : {0, 1}) {
      BlockHeader h = sample_header(1, i, head);
      if (i == 1) h.fingerprint = "another model";
      BlockDraft d(h, 1024);
      (void)rig.disk->put(std::move(d).seal(), in(std::chrono::seconds(1)));
    }
  auto fetch = wait_for(rig.store->fetch(run(1, 3), in(std::chrono::seconds(5))));
  EXPECT_EQ(fetch->leading(), 1U);
  EXPECT_EQ(rig.reads(ReadEnd::foreign), 2);
  EXPECT_EQ(wait_for(rig.store->fetch(run(1, 3), in(std::chrono::seconds(5))))->leading(), 1U);
  EXPECT_EQ(rig.reads(ReadEnd::miss), 2);
}

TEST(TieredStore, ASurveySaysWhereTheLeadingBlocksAre) {
  Rig rig({}, 1 << 20);
  rig.put_chain(1, 2);
  rig.store->wait_idle();
  for (int i = 2; i < 4; ++i) (void)rig.disk->put(sample_block(1, i), in(std::chrono::seconds(1)));
  const auto survey = rig.store->survey(run(1, 6).keys, 0, in(std::chrono::seconds(5)));
  while (!survey->finished.load()) std::this_thread::yield();
  EXPECT_EQ(survey->tiers,
            (std::vector<TierKind>{TierKind::memory, TierKind::memory, TierKind::disk, TierKind::disk}));
}

TEST(TieredStore, CloseStoresWhatWaits) {
  Rig rig;
  rig.put_chain(1, 20);
  rig.store->close(std::chrono::seconds(10));
  EXPECT_EQ(rig.disk->usage().blocks, 40U);
}

TEST(JobQueue, RefusesBeyondItsLimitAndRunsInOrder) {
  std::atomic<bool> go{false};
  std::vector<int> ran;
  JobQueue queue(10, [&] {
    while (!go.load()) std::this_thread::yield();
  });
  EXPECT_TRUE(queue.push([&] { ran.push_back(1); }, 6));
  EXPECT_FALSE(queue.push([&] { ran.push_back(2); }, 5));
  EXPECT_TRUE(queue.push([&] { ran.push_back(3); }, 4));
  go = true;
  queue.wait_idle();
  EXPECT_EQ(ran, (std::vector<int>{1, 3}));
  queue.close(std::chrono::milliseconds(0));
  EXPECT_FALSE(queue.push([] {}, 1));
}

}  // namespace
}  // namespace leadline::kvstore
