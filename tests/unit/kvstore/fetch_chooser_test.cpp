// The chooser against simulated tiers: steady, noisy, suddenly slow, hung, recovered.
#include "kvstore/fetch_chooser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace leadline::kvstore {
namespace {

constexpr std::uint8_t kMemory = 0, kDisk = 1, kRedis = 2;
constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint64_t kBlockBytes = 1 << 18;

HitPiece piece(std::uint8_t tier, std::uint32_t blocks) {
  return {tier, blocks * kBlockTokens, blocks, blocks * kBlockBytes};
}

// What a tier really takes, with noise of a fifth.
struct Tier {
  double latency_s, bytes_per_s;
  std::mt19937 rng{7};
  double load(std::uint64_t bytes) {
    std::lognormal_distribution<double> noise(0, 0.2);
    return (latency_s + static_cast<double>(bytes) / bytes_per_s) * noise(rng);
  }
};
struct Prefill {
  double per_token = 1e-3, per_position = 1e-7;
  [[nodiscard]] double seconds(std::uint32_t first, std::uint32_t tokens) const {
    return tokens * per_token + tokens * (first + tokens / 2.0) * per_position;
  }
};

FetchChooser trained(Tier& tier, std::uint8_t index, const Prefill& prefill, double now_s = 0) {
  FetchChooser chooser;
  std::mt19937 rng(3);
  for (int i = 0; i < 30; ++i) {
    const std::uint64_t bytes = (1 + rng() % 64) * kBlockBytes;
    chooser.loaded(index, bytes, tier.load(bytes), now_s + i * 0.01);
    const std::uint32_t first = rng() % 4096, tokens = 16 + rng() % 512;
    chooser.prefilled(tokens, first, prefill.seconds(first, tokens));
  }
  return chooser;
}

TEST(FetchChooser, LearnsATierAndPrefill) {
  const Prefill prefill;
  for (const auto& [latency, speed] : {std::pair{1e-5, 1e10}, {1e-3, 1e8}, {0.2, 1e9}, {1e-4, 2e6}}) {
    Tier tier{latency, speed};
    const FetchChooser chooser = trained(tier, kDisk, prefill);
    for (std::uint64_t blocks : {4, 16, 64}) {
      const double truth = latency + static_cast<double>(blocks * kBlockBytes) / speed;
      EXPECT_NEAR(chooser.fetch_s(kDisk, blocks * kBlockBytes) / truth, 1, 0.3) << latency << " " << speed;
    }
    for (std::uint32_t first : {0U, 1000U, 8000U})
      EXPECT_NEAR(chooser.prefill_s(first, 256) / prefill.seconds(first, 256), 1, 0.1) << first;
  }
}

TEST(FetchChooser, FetchesWhatIsFasterAndComputesWhatIsNot) {
  struct Case {
    const char* what;
    double latency_s, bytes_per_s;
    std::uint32_t hit_blocks;
    bool fetch;
  };
  // 16 tokens of prefill: 16 ms; a block: 256 KiB.
  const Case cases[] = {
      {"a fast tier", 1e-4, 1e9, 64, true},
      {"a fast tier, one block", 1e-4, 1e9, 1, true},
      {"slower than computing", 1e-4, 5e6, 64, false},
      {"far away, little to fetch", 0.1, 1e9, 2, false},
      {"far away, much to fetch", 0.1, 1e9, 64, true},
  };
  for (const Case& c : cases) {
    Tier tier{c.latency_s, c.bytes_per_s};
    const FetchChooser chooser = trained(tier, kDisk, Prefill{});
    const HitPiece hit = piece(kDisk, c.hit_blocks);
    const FetchChoice choice = chooser.choose({&hit, 1}, 0, hit.tokens + 20, 1);
    EXPECT_EQ(choice.blocks, c.fetch ? c.hit_blocks : 0) << c.what;
    if (choice.blocks != 0) {
      EXPECT_LT(choice.fetch_s, choice.saved_s) << c.what;
      EXPECT_GE(choice.deadline_s, choice.saved_s) << c.what;
    }
  }
}

TEST(FetchChooser, FetchesThePartThatIsWorthIt) {
  Tier memory{1e-5, 4e9}, redis{0.01, 1e7};  // Redis: 26 ms a block against 16 ms to compute it
  FetchChooser chooser = trained(memory, kMemory, Prefill{});
  for (int i = 0; i < 20; ++i) chooser.loaded(kRedis, kBlockBytes * 4, redis.load(kBlockBytes * 4), 0);
  const HitPiece hit[] = {piece(kMemory, 10), piece(kRedis, 20), piece(kMemory, 5)};
  const FetchChoice choice = chooser.choose(hit, 0, 35 * kBlockTokens + 5, 0.5);
  EXPECT_EQ(choice.blocks, 10U);
  EXPECT_EQ(choice.tokens, 160U);
  EXPECT_EQ(choice.offered_blocks, 35U);
  // A slow stretch is crossed where what lies behind it is worth more.
  const HitPiece far[] = {piece(kRedis, 2), piece(kMemory, 64)};
  EXPECT_EQ(chooser.choose(far, 0, 66 * kBlockTokens + 5, 0.5).blocks, 66U);
}

TEST(FetchChooser, PrefillGrowsWithPositionSoLateBlocksAreWorthMore) {
  Tier tier{1e-4, 1.4e7};  // 18.7 ms a block: more than computing it early, less than late
  FetchChooser chooser = trained(tier, kDisk, Prefill{1e-3, 1e-6});
  const HitPiece hit = piece(kDisk, 8);
  EXPECT_EQ(chooser.choose({&hit, 1}, 0, 140, 0.5).blocks, 0U);
  EXPECT_EQ(chooser.choose({&hit, 1}, 16000, 16140, 0.5).blocks, 8U);
}

// The sum of what was waited over many requests against the better of both each time.
struct Outcome {
  double waited = 0, best = 0, computed = 0, regret = 0;
};
Outcome serve(FetchChooser& chooser, Tier& tier, int requests, double& now_s, double hang_s = 0) {
  const Prefill prefill;
  Outcome out;
  for (int i = 0; i < requests; ++i) {
    now_s += 0.5;
    const HitPiece hit = piece(kDisk, 32);
    const FetchChoice choice = chooser.choose({&hit, 1}, 0, hit.tokens + 16, now_s);
    const double compute_s = prefill.seconds(0, hit.tokens);
    const double load_s = hang_s > 0 ? hang_s : tier.load(hit.bytes);
    out.best += std::min(compute_s, load_s);
    out.computed += compute_s;
    if (choice.probe) {
      const double probe_s = hang_s > 0 ? hang_s : tier.load(choice.probe_blocks * kBlockBytes);
      if (probe_s > 1)
        chooser.timed_out(*choice.probe, choice.probe_blocks * kBlockBytes, 1, now_s);
      else
        chooser.loaded(*choice.probe, choice.probe_blocks * kBlockBytes, probe_s, now_s);
    }
    if (choice.blocks == 0) {
      out.waited += compute_s;
      out.regret += regret_s(choice, 0, compute_s);
    } else if (load_s > choice.deadline_s) {
      out.waited += choice.deadline_s + compute_s;
      out.regret += regret_s(choice, choice.deadline_s + compute_s, 0);
      chooser.timed_out(kDisk, hit.bytes, choice.deadline_s, now_s);
    } else {
      out.waited += load_s;
      out.regret += regret_s(choice, load_s, 0);
      chooser.loaded(kDisk, hit.bytes, load_s, now_s);
    }
    chooser.prefilled(16, hit.tokens, prefill.seconds(hit.tokens, 16));
  }
  return out;
}

TEST(FetchChooser, SurvivesASlowdownAHangAndARecovery) {
  Tier tier{1e-3, 1e9};
  FetchChooser chooser = trained(tier, kDisk, Prefill{});
  double now_s = 1;
  Outcome fast = serve(chooser, tier, 100, now_s);
  EXPECT_LT(fast.waited, 1.05 * fast.best);
  EXPECT_LT(fast.regret, 0.01 * fast.computed);

  tier.bytes_per_s = 5e6;  // 1.7 s for what takes 0.5 s to compute
  Outcome slow = serve(chooser, tier, 100, now_s);
  EXPECT_LT(slow.waited, 1.1 * slow.computed);
  EXPECT_LT(slow.regret, 0.1 * slow.computed);

  Outcome hung = serve(chooser, tier, 100, now_s, 1e9);
  EXPECT_LT(hung.waited, 1.1 * hung.computed);

  tier.bytes_per_s = 1e9;
  serve(chooser, tier, 80, now_s);  // hold-off runs out, a probe finds it well
  Outcome again = serve(chooser, tier, 100, now_s);
  EXPECT_LT(again.waited, 1.1 * again.best);
}

TEST(FetchChooser, ATierThatHangsFromTheFirstRequestCostsTwiceAtMost) {
  FetchChooser chooser;
  Tier tier{1e-3, 1e9};
  double now_s = 0;
  const Outcome out = serve(chooser, tier, 1, now_s, 1e9);
  EXPECT_LE(out.waited, 2.05 * out.computed);
}

TEST(FetchChooser, ATierInHoldOffIsNotAsked) {
  FetchChooser chooser;
  chooser.timed_out(kDisk, kBlockBytes, 0.1, 10);
  const HitPiece hit[] = {piece(kMemory, 3), piece(kDisk, 30)};
  const FetchChoice choice = chooser.choose(hit, 0, 600, 10.5);
  EXPECT_EQ(choice.blocks, 3U);
  EXPECT_TRUE(chooser.held_off(kDisk, 10.5));
  EXPECT_FALSE(chooser.held_off(kDisk, 11.5));
  // Afterwards: one block first, beside the request.
  const FetchChoice later = chooser.choose(hit, 0, 600, 11.5);
  EXPECT_EQ(later.blocks, 3U);
  EXPECT_EQ(later.probe, kDisk);
  chooser.loaded(kDisk, kBlockBytes, 1e-3, 11.6);
  EXPECT_EQ(chooser.choose(hit, 0, 600, 11.7).blocks, 33U);
  // Hold-off doubles up to its limit.
  for (int i = 0; i < 30; ++i) chooser.timed_out(kDisk, kBlockBytes, 0.1, 100);
  EXPECT_TRUE(chooser.held_off(kDisk, 129.9));
  EXPECT_FALSE(chooser.held_off(kDisk, 130.1));
}

TEST(FetchChooser, NothingOfferedNothingFetched) {
  const FetchChooser chooser;
  const FetchChoice choice = chooser.choose({}, 5, 3, 0);
  EXPECT_EQ(choice.blocks, 0U);
  EXPECT_EQ(choice.recompute_s, 0);
  EXPECT_EQ(regret_s(choice, 0, 0), 0);
  const HitPiece empty{kDisk, 0, 0, 0};
  EXPECT_EQ(chooser.choose({&empty, 1}, 0, 100, 0).blocks, 0U);
}

TEST(OnlineFit, StaysFiniteOnHostileNumbers) {
  OnlineFit fit(1e-3, 1e-8);
  for (double y : {0.0, -1.0, 1e-300, 1e300, std::nan(""), HUGE_VAL, 1e-9, 1e9}) {
    fit.observe(1, 1e6, y);
    fit.observe(0, 0, 1);
    fit.observe(1, 0, y);
  }
  EXPECT_TRUE(std::isfinite(fit.predict(1, 1e9)));
  EXPECT_GT(fit.predict(1, 0), 0);
  EXPECT_LE(fit.spread(), OnlineFit::kMaxSpread);
}

TEST(OnlineFit, OneSizeOnlyIsEnoughForThatSize) {
  OnlineFit fit(1e-3, 1e-8);
  for (int i = 0; i < 50; ++i) fit.observe(1, 1e6, 0.25);
  EXPECT_NEAR(fit.predict(1, 1e6), 0.25, 0.01);
  // What latency and bandwidth have of it cannot be known: both get a share.
  EXPECT_GT(fit.predict(1, 2e6), 0.3);
  EXPECT_LT(fit.predict(1, 2e6), 0.5);
}

TEST(OnlineFit, FollowsASuddenChangeWithinThreeObservations) {
  OnlineFit fit(1e-3, 1e-8);
  for (int i = 0; i < 50; ++i) fit.observe(1, 1e6 * (1 + i % 5), 1e-3 + 1e-8 * 1e6 * (1 + i % 5));
  for (int i = 0; i < 3; ++i) fit.observe(1, 1e6 * (1 + i % 5), 100e-3 * (1 + i % 5));
  EXPECT_GT(fit.predict(1, 2e6), 0.1);
}

}  // namespace
}  // namespace leadline::kvstore
