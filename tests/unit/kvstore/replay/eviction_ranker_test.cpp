// The learned reuse predictor: learns what can be learned, its file is refused when damaged or foreign, and
// it runs behind kvstore's interface.
#include "policy/eviction_ranker.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "policy/trainer/eviction_training.h"
#include "worker/runtime/ranker_adapter.h"

namespace leadline::policy {
namespace {

std::vector<EvictionSample> learnable(std::size_t n, std::uint32_t seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<EvictionSample> samples(n);
  for (EvictionSample& s : samples) {
    for (float& f : s.features) f = 100 * uniform(rng);
    s.features[2] = std::floor(4 * uniform(rng));
    s.seconds = s.features[2] > 1 ? 10 + s.features[3] : 2000;  // used twice: soon again
  }
  return samples;
}

EvictionRanker trained() {
  const auto result = train_eviction(learnable(4000, 1), {.horizon_s = 3600});
  return EvictionRanker(result->network, "made by a test");
}

TEST(EvictionTraining, LearnsAndIsRepeatable) {
  const auto result = train_eviction(learnable(4000, 1), {.horizon_s = 3600});
  ASSERT_TRUE(result.has_value());
  // The step from 10 s to 2000 s at one value of a feature is what is left: 0.16 of the constant's error.
  EXPECT_LT(result->loss, 0.25 * result->constant_loss);
  const EvictionRanker ranker(result->network, "");
  double wrong = 0;
  for (const EvictionSample& s : learnable(500, 2))
    wrong += (ranker.predict(s.features) < 400) != (s.seconds < 400);
  EXPECT_LT(wrong, 25);
  const auto again = train_eviction(learnable(4000, 1), {.horizon_s = 3600});
  EXPECT_EQ(again->network.w1, result->network.w1);
}

// All blocks of one model are as large in its log; a tier counts them per head and after the codec.
TEST(EvictionTraining, WhatDoesNotVaryInTheLogChangesNoAnswer) {
  auto samples = learnable(4000, 1);
  for (EvictionSample& s : samples) s.features[1] = 192;
  const auto result = train_eviction(samples, {.horizon_s = 3600});
  ASSERT_TRUE(result.has_value());
  const EvictionRanker ranker(result->network, "");
  ASSERT_TRUE(EvictionRanker::from_bytes(ranker.to_bytes()).has_value());
  for (EvictionSample s : learnable(100, 3)) {
    s.features[1] = 192;
    const float in_the_log = ranker.predict(s.features);
    s.features[1] = 12;
    EXPECT_NEAR(ranker.predict(s.features), in_the_log, 1e-3F * in_the_log);
  }
}

TEST(EvictionTraining, RefusesWhatCannotWork) {
  EXPECT_EQ(train_eviction({}, {}).error().code, Errc::configuration);
  EXPECT_FALSE(train_eviction(learnable(200, 1), {.horizon_s = 0}).has_value());
}

TEST(EvictionRanker, TheFuzzersSeedIsOfThisFormat) {
  const auto seed = EvictionRanker::load(LEADLINE_SOURCE_DIR "/tests/fuzz/corpus/kv_study/ranker");
  ASSERT_TRUE(seed.has_value()) << seed.error().message;
}

TEST(EvictionRanker, FileComesBackAndDamageIsRefused) {
  const EvictionRanker ranker = trained();
  const auto bytes = ranker.to_bytes();
  const auto again = EvictionRanker::from_bytes(bytes);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->provenance(), "made by a test");
  EXPECT_EQ(again->to_bytes(), bytes);
  for (std::size_t n = 0; n < bytes.size(); ++n)
    ASSERT_FALSE(EvictionRanker::from_bytes(std::span<const std::byte>(bytes).first(n)).has_value());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto wrong = bytes;
    wrong[i] ^= std::byte{1};
    ASSERT_FALSE(EvictionRanker::from_bytes(wrong).has_value()) << i;
  }
  const auto path =
      std::filesystem::temp_directory_path() / ("eviction_ranker_test." + std::to_string(::getpid()));
  ASSERT_TRUE(ranker.save(path.string()).has_value());
  EXPECT_EQ(EvictionRanker::load(path.string())->to_bytes(), bytes);
  std::filesystem::remove(path);
  EXPECT_EQ(EvictionRanker::load(path.string()).error().code, Errc::io);
}

TEST(EvictionRanker, AnswersAreFiniteAndWithinTheHorizon) {
  const EvictionRanker ranker = trained();
  for (float x : {0.0F, -5.0F, 1e-30F, 1e30F, 3e38F}) {
    EvictionFeatures features;
    features.fill(x);
    const float seconds = ranker.predict(features);
    EXPECT_TRUE(std::isfinite(seconds));
    EXPECT_GT(seconds, 0);
    EXPECT_LE(seconds, 3601);
  }
}

TEST(RankerAdapter, GivesTheRankersAnswers) {
  const EvictionRanker ranker = trained();
  const worker::RankerAdapter adapter(ranker);
  const std::vector<kvstore::ReuseFeatures> blocks = {{1, 2, 3, 4, 5, 6}, {6, 5, 0, 3, 2, 1}};
  std::vector<float> seconds(2);
  ASSERT_TRUE(adapter.rank(blocks, seconds));
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(seconds[i], ranker.predict(blocks[i]));
}

}  // namespace
}  // namespace leadline::policy
