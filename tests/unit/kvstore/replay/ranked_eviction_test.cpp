// The learned policy's fences: a bad ranker costs little, a late one rests, a silent one is replaced, a
// shadow one changes nothing.
#include "kvstore/eviction/ranked.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kvstore/replay/chat_trace.h"
#include "kvstore/replay/replay.h"

namespace leadline::kvstore {
namespace {

class FakeRanker final : public ReuseRanker {
 public:
  std::function<float(const ReuseFeatures&)> answer = [](const ReuseFeatures&) { return 1.0F; };
  bool silent = false;
  mutable double took_us = 0;
  mutable int asked = 0;
  double* clock = nullptr;

  bool rank(std::span<const ReuseFeatures> blocks, std::span<float> seconds) const override {
    ++asked;
    if (clock != nullptr) *clock += took_us;
    for (std::size_t i = 0; i < blocks.size(); ++i) seconds[i] = answer(blocks[i]);
    return !silent;
  }
};

BlockKey key_of(int n) {
  BlockKey key;
  key.bytes[0] = static_cast<std::uint8_t>(n);
  key.bytes[1] = static_cast<std::uint8_t>(n >> 8);
  key.bytes[31] = 1;
  return key;
}
BlockFacts facts(double cost_s = 1) {
  return {10, cost_s, key_of(9999), 0};
}

struct Fixture {
  double clock = 0;
  FakeRanker ranker;
  RankedEviction policy(bool shadow = false) {
    ranker.clock = &clock;
    return RankedEviction(
        {.capacity_bytes = 1000, .shadow = shadow, .deadline_us = 500, .late_limit = 3, .rest_evictions = 10},
        ranker, [this] { return clock; });
  }
};

TEST(RankedEviction, TheLeastWorthLeaves) {
  Fixture f;
  auto policy = f.policy();
  f.ranker.answer = [](const ReuseFeatures& x) { return x[5] == 2000.0F ? 100.0F : 10.0F; };  // cost_ms
  policy.insert(key_of(1), facts(1), 0);
  policy.insert(key_of(2), facts(2), 0);    // 2 s / 100 s: the least
  policy.insert(key_of(3), facts(0.5), 0);  // 0.5 s / 10 s
  EXPECT_EQ(policy.evict(1), key_of(2));
  EXPECT_EQ(policy.evict(1), key_of(3));
  EXPECT_EQ(policy.counts()[EvictedBy::ranker], 2U);
}

TEST(RankedEviction, FeaturesAreTheSixInOrder) {
  Fixture f;
  auto policy = f.policy();
  ReuseFeatures seen{};
  f.ranker.answer = [&](const ReuseFeatures& x) { return seen = x, 1.0F; };
  policy.insert(key_of(1), {2048, 0.25, key_of(9999), 0}, 100);
  policy.touch(key_of(1), 110);
  policy.touch(key_of(1), 130);
  EXPECT_TRUE(policy.evict(150).has_value());
  EXPECT_EQ(seen, (ReuseFeatures{50, 2, 2, 15, 20, 250}));
}

TEST(RankedEviction, AShadowChangesNothingAndIsCounted) {
  Fixture f, g;
  auto shadow = f.policy(true);
  auto plain = make_eviction(kDefaultEviction, 1000);
  for (int i = 0; i < 300; ++i) {
    const BlockKey key = key_of(i * 7 % 120);
    shadow.insert(key, facts(), i);
    plain->insert(key, facts(), i);
    while (plain->bytes() > 1000) {
      const auto expected = plain->evict(i);
      ASSERT_EQ(shadow.evict(i), expected);
    }
  }
  EXPECT_EQ(shadow.counts()[EvictedBy::ranker], 0U);
  EXPECT_GT(shadow.counts().asked, 100U);
  EXPECT_EQ(shadow.counts()[EvictedBy::fallback], shadow.counts().evictions());
}

TEST(RankedEviction, AShadowTellsWhoseChoiceWasMissed) {
  Fixture f;
  f.ranker.clock = &f.clock;
  int left = 0, spared = 0, differed = 0;
  RankedOptions options{.capacity_bytes = 1000};
  options.events.returned = [&](ShadowReturn block) { ++(block == ShadowReturn::left ? left : spared); };
  options.events.answered = [&](RankerAnswer answer) { differed += answer == RankerAnswer::differed; };
  RankedEviction policy(options, f.ranker, [&f] { return f.clock; });
  f.ranker.answer = [](const ReuseFeatures& x) {
    return x[5] == 2000.0F ? 1e6F : 1.0F;
  };                                      // names the one of 2 s
  policy.insert(key_of(1), facts(1), 0);  // S3-FIFO's next
  policy.insert(key_of(2), facts(2), 0);
  policy.insert(key_of(3), facts(1), 0);
  EXPECT_EQ(policy.evict(1), key_of(1));
  EXPECT_EQ(differed, 1);
  policy.touch(key_of(2), 2);  // the ranker would have thrown this out
  policy.touch(key_of(2), 3);  // once
  EXPECT_EQ(std::pair(left, spared), std::pair(0, 1));
  policy.insert(key_of(1), facts(1), 4);  // S3-FIFO's choice comes back
  EXPECT_EQ(std::pair(left, spared), std::pair(1, 1));
  EXPECT_EQ(policy.counts()[ShadowReturn::left], 1U);
}

TEST(RankedEviction, ALateRankerRestsAndComesBack) {
  Fixture f;
  auto policy = f.policy();
  f.ranker.took_us = 600;
  for (int i = 0; i < 40; ++i) policy.insert(key_of(i), facts(), i);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(policy.evict(50).has_value());
  EXPECT_EQ(policy.counts()[RankerAnswer::late], 3U);
  f.ranker.took_us = 1;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(policy.evict(50).has_value());
  EXPECT_EQ(f.ranker.asked, 3) << "it rests";
  EXPECT_TRUE(policy.evict(50).has_value());
  EXPECT_EQ(f.ranker.asked, 4);
  EXPECT_EQ(policy.counts()[EvictedBy::ranker], 1U);
}

TEST(RankedEviction, NoAnswerOrNonsenseIsTheFallback) {
  for (float nonsense : {0.0F, -1.0F, NAN, INFINITY}) {
    Fixture f;
    auto policy = f.policy();
    f.ranker.answer = [&](const ReuseFeatures&) { return nonsense; };
    for (int i = 0; i < 5; ++i) policy.insert(key_of(i), facts(), i);
    EXPECT_EQ(policy.evict(9), key_of(0));
    EXPECT_EQ(policy.counts()[RankerAnswer::none], 1U);
    EXPECT_EQ(policy.counts()[EvictedBy::fallback], 1U);
  }
  Fixture f;
  auto policy = f.policy();
  f.ranker.silent = true;
  policy.insert(key_of(1), facts(), 0);
  EXPECT_EQ(policy.evict(1), key_of(1));
  EXPECT_EQ(policy.counts()[RankerAnswer::none], 1U);
  EXPECT_FALSE(policy.evict(1).has_value());
}

TEST(RankedEviction, AChainIsTakenFromItsEnd) {
  Fixture f;
  auto policy = f.policy();
  for (int i = 0; i < 6; ++i) policy.insert(key_of(i), {10, 1, i == 0 ? key_of(9999) : key_of(i - 1), 0}, i);
  for (int i = 5; i >= 0; --i) EXPECT_EQ(policy.evict(9), key_of(i));
}

// The worst ranker there is (it throws out what is needed soonest, known from the trace's habits: what was
// used last) stays within reach of S3-FIFO; without the guard it would find next to nothing.
TEST(RankedEviction, TheGuardLimitsWhatABadRankerCosts) {
  ChatTraceOptions options;
  options.seconds = 2400;
  const auto records = chat_trace(options);
  const auto capacity = static_cast<std::uint64_t>(0.1 * static_cast<double>(footprint_bytes(records)));
  FakeRanker ranker;
  ranker.answer = [](const ReuseFeatures& x) { return 1e6F / (1 + x[4]); };  // idle longest = needed soonest
  RankedEviction policy({.capacity_bytes = capacity, .shadow = false}, ranker, [] { return 0.0; });
  const ReplayResult bad = replay(records, policy, capacity);
  auto s3fifo = make_eviction("s3fifo", capacity);
  const ReplayResult good = replay(records, *s3fifo, capacity);
  EXPECT_GT(policy.counts()[EvictedBy::guard], 0U);
  EXPECT_GT(bad.saved_s, 0.6 * good.saved_s);
}

}  // namespace
}  // namespace leadline::kvstore
