#include "worker/runtime/prefix_fetcher.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "monitoring/metrics.h"
#include "tests/support/gated_tier.h"
#include "worker/backend/backend.h"

namespace leadline::worker {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kPages = 32, kPromptTokens = 400;
constexpr std::int32_t kHeadDim = 16;

// One layer, one head, one tier whose loads can be held. Steps are what LeadLoop does of a plan's blocks.
class PrefixFetcherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend({.device = "cpu", .isa = "scalar", .threads = 1});
    ASSERT_TRUE(backend);
    backend_ = std::move(*backend);
    auto pool = backend_->allocate_kv({kPages, kHeadDim, DType::f32});
    ASSERT_TRUE(pool);
    pool_ = std::move(*pool);
    auto tier = std::make_unique<tests::GatedTier>(kvstore::TierKind::redis);
    tier_ = tier.get();
    std::vector<std::unique_ptr<kvstore::Tier>> tiers;
    tiers.push_back(std::move(tier));
    store_ = std::make_unique<kvstore::TieredStore>(std::move(tiers), kvstore::TieredStoreOptions{},
                                                    kvstore::StoreMetrics::create(registry_));
    mover_ = std::make_unique<BlockMover>(*backend_, *pool_, *store_,
                                          BlockGeometry{1, 1, 0, kPages, kHeadDim, "m", "test"});
    std::iota(prompt_.begin(), prompt_.end(), 5);
    store_the_prompt();
    fetcher_ = std::make_unique<PrefixFetcher>(*store_, *mover_, cache_, PrefixFetcherOptions{},
                                               PrefixFetcherMetrics::create(registry_));
  }
  void TearDown() override { tier_->open_loads(true); }

  void store_the_prompt() {
    const SequenceId id{1};
    SequenceCache first({.pages = kPages, .model_fingerprint = "m", .seal_blocks = true});
    first.admit(id, prompt_, {});
    ASSERT_TRUE(first.reserve(id, kPromptTokens));
    first.commit(id, prompt_);
    BlockPlan plan;
    plan.seals = first.take_moves().seals;
    ASSERT_EQ(plan.seals.size(), kPromptTokens / kPageTokens);
    ASSERT_TRUE(mover_->begin(plan));
    store_->wait_idle();
  }

  void step() {
    BlockPlan plan;
    fetcher_->fill(plan);
    ASSERT_TRUE(mover_->begin(plan));
    fetcher_->polled(plan, mover_->poll(plan.polls));
    mover_->drop(plan.drops);
  }

  // A new request of the prompt waits until it may be scheduled; tokens that admission would find.
  std::uint32_t ask() {
    const SequenceId id{next_++};
    cache_.add(id, prompt_, {});
    while (fetcher_->holds(id)) {
      step();
      std::this_thread::yield();
    }
    const std::uint32_t hit = fetcher_->hit_tokens(id, cache_.peek(id));
    fetcher_->forget(id);
    cache_.release(id);
    step();
    return hit;
  }

  void expect_held_off() {
    const int before = tier_->gets();
    EXPECT_EQ(ask(), 0U);
    EXPECT_EQ(tier_->gets(), before) << "it is asked again at once";
  }

  monitoring::MetricsRegistry registry_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<KvPool> pool_;
  tests::GatedTier* tier_ = nullptr;
  std::unique_ptr<kvstore::TieredStore> store_;
  std::unique_ptr<BlockMover> mover_;
  SequenceCache cache_{{.pages = kPages, .model_fingerprint = "m", .seal_blocks = true}};
  std::vector<std::int32_t> prompt_ = std::vector<std::int32_t>(kPromptTokens);
  std::unique_ptr<PrefixFetcher> fetcher_;
  std::uint32_t next_ = 2;
};

TEST_F(PrefixFetcherTest, ATierThatTimedOutIsReadAgainOnceItIsWell) {
  EXPECT_GT(ask(), 0U);
  tier_->open_loads(false);
  EXPECT_EQ(ask(), 0U);  // its deadline passes: computed
  EXPECT_EQ(ask(), 0U);  // held off: not asked
  tier_->open_loads(true);
  const auto end = std::chrono::steady_clock::now() + milliseconds(30'000);
  std::uint32_t hit = 0;
  while (hit == 0 && std::chrono::steady_clock::now() < end) hit = ask();
  EXPECT_GT(hit, 0U) << "no probe found the tier well";
}

// A tier that keeps its deadline has ended the fetch by then: it is late all the same, and held off.
TEST_F(PrefixFetcherTest, ATierThatGivesUpAtTheDeadlineIsHeldOff) {
  EXPECT_GT(ask(), 0U);
  tier_->give_up(true);
  EXPECT_EQ(ask(), 0U);
  expect_held_off();
}

TEST_F(PrefixFetcherTest, ATierThatBreaksDownIsHeldOff) {
  EXPECT_GT(ask(), 0U);
  tier_->break_down(true);
  EXPECT_EQ(ask(), 0U);
  expect_held_off();
}

}  // namespace
}  // namespace leadline::worker
