// Tables and properties of sample(): penalties, masks, logprobs, ties, and equality with the plain
// definition.
#include "worker/sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace leadline::worker {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplingRow row_of(std::span<const float> logits) {
  SamplingRow row;
  row.logits = logits;
  row.allowed_vocab = static_cast<std::int32_t>(logits.size());
  return row;
}

std::int32_t greedy(const SamplingRow& row, SamplingParams params) {
  SamplerScratch scratch;
  params.temperature = 0;
  return sample(row, params, scratch).token;
}

// The definition, written plainly: full sort, no shortcuts; filters in double.
std::int32_t plain_sample(const std::vector<float>& logits, const SamplingParams& p, std::uint64_t position) {
  std::vector<std::int32_t> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i);
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  const float max = logits[ids[0]];
  const auto x = [&](std::int32_t id) { return (logits[id] - max) / p.temperature; };
  if (p.top_k > 0) ids.resize(std::min<std::size_t>(ids.size(), p.top_k));
  double total = 0, sum = 0;
  for (const auto id : ids) total += std::exp(static_cast<double>(x(id)));
  std::size_t kept = 0;
  do sum += std::exp(static_cast<double>(x(ids[kept++]))) / total;
  while (kept < ids.size() && (p.top_p >= 1 || sum < p.top_p));
  ids.resize(kept);
  std::int32_t best = -1;
  double best_score = 0;
  for (const auto id : ids) {
    if (p.min_p > 0 && x(id) < static_cast<float>(std::log(static_cast<double>(p.min_p)))) continue;
    const double score = static_cast<double>(x(id)) + gumbel_noise(p.seed, position, id);
    if (best < 0 || score > best_score || (score == best_score && id < best)) best = id, best_score = score;
  }
  return best;
}

TEST(Sampler, EqualsThePlainDefinition) {
  std::mt19937 rng(5);
  SamplerScratch scratch;  // one for all: leftovers of another row must not matter
  std::normal_distribution<float> normal(0, 3);
  for (int i = 0; i < 600; ++i) {
    std::vector<float> logits(1 + rng() % 700);
    for (float& l : logits) l = i % 3 == 0 ? std::floor(normal(rng)) : normal(rng);
    SamplingParams p;
    p.seed = rng();
    p.temperature = std::array{0.05F, 0.7F, 1.0F, 2.0F}[rng() % 4];
    p.top_k = std::array{0, 1, 5, 50, 10000}[rng() % 5];
    p.top_p = std::array{1.0F, 0.123457F, 0.512345F, 0.951234F}[rng() % 4];
    p.min_p = std::array{0.0F, 0.0512345F, 0.31234F}[rng() % 3];
    SamplingRow row = row_of(logits);
    row.position = rng();
    EXPECT_EQ(sample(row, p, scratch).token, plain_sample(logits, p, row.position)) << i;
  }
}

TEST(Sampler, GreedyTiesGoToTheSmallerId) {
  EXPECT_EQ(greedy(row_of(std::vector<float>{1, 5, 5, 2}), {}), 1);
  EXPECT_EQ(greedy(row_of(std::vector<float>(100, 0.0F)), {}), 0);
}

TEST(Sampler, PenaltiesByHand) {
  const std::vector<float> logits = {4, 3, -1, 0.5F};
  const std::vector<std::int32_t> prompt = {0, 0, 2}, generated = {1, 1};
  struct Case {
    float repetition, presence, frequency;
    std::vector<double> want;  // logits after penalties
  };
  const Case cases[] = {
      {1, 0, 0, {4, 3, -1, 0.5}},
      {2, 0, 0, {2, 1.5, -2, 0.5}},     // prompt and generated, positive
                                        // divided, negative multiplied,
                                        // once each
      {1, 0.5F, 0, {4, 2.5, -1, 0.5}},  // generated only
      {1, 0, 0.5F, {4, 2, -1, 0.5}},    // by count
      {2, 0.5F, 0.25F, {2, 0.5, -2, 0.5}},
      {1, -1, 0, {4, 4, -1, 0.5}},
      {0.5F, 0, 0, {8, 6, -0.5, 0.5}},
  };
  for (const Case& c : cases) {
    SamplingParams p;
    p.temperature = 0;
    p.repetition_penalty = c.repetition;
    p.presence_penalty = c.presence;
    p.frequency_penalty = c.frequency;
    p.top_logprobs = 4;
    SamplingRow row = row_of(logits);
    row.prompt = prompt;
    row.generated = generated;
    SamplerScratch scratch;
    const SampledRow got = sample(row, p, scratch);
    double z = 0;
    for (const double w : c.want) z += std::exp(w);
    ASSERT_EQ(got.top_logprobs.size(), 4U);
    for (const auto& [id, logprob] : got.top_logprobs)
      EXPECT_NEAR(logprob, c.want[id] - std::log(z), 1e-5) << id;
    for (const std::uint32_t count : scratch.counts) EXPECT_EQ(count, 0U);
  }
}

TEST(Sampler, BiasAddsAndForcesAndForbids) {
  const std::vector<float> logits = {4, 3, 2};
  SamplingParams p;
  p.logit_bias = {{1, 0.75F}, {1, 0.75F}, {7, 100}, {-1, 100}};
  EXPECT_EQ(greedy(row_of(logits), p), 1);
  p.logit_bias = {{0, -kInf}, {1, -100}};
  EXPECT_EQ(greedy(row_of(logits), p), 2);
  p.logit_bias = {{2, kInf}};
  EXPECT_EQ(greedy(row_of(logits), p), 2);
  p.logit_bias = {{2, kNan}};
  EXPECT_EQ(greedy(row_of(logits), p), 0);
}

TEST(Sampler, MaskedIdsAreNeverSampled) {
  std::mt19937 rng(6);
  SamplerScratch scratch;
  for (int i = 0; i < 300; ++i) {
    std::vector<float> logits(300);
    for (std::size_t id = 0; id < logits.size(); ++id) {
      const auto kind = id % 5;
      logits[id] = kind == 0 ? kNan : kind == 1 ? -kInf : kind == 2 ? 50.0F : 1.0F;
    }
    std::vector<std::int32_t> banned;
    for (std::int32_t id = 2; id < 200; id += 5) banned.push_back(id);
    banned.push_back(9999);
    banned.push_back(-3);
    SamplingParams p;
    p.seed = rng();
    p.temperature = i % 2 == 0 ? 0.0F : 2.0F;
    p.top_logprobs = 20;
    SamplingRow row = row_of(logits);
    row.allowed_vocab = 200;
    row.banned = banned;
    row.position = i;
    const SampledRow got = sample(row, p, scratch);
    EXPECT_TRUE(got.token < 200 && got.token % 5 >= 3) << got.token;
    EXPECT_NEAR(got.logprob, -std::log(80.0), 1e-5);
    for (const auto& [id, logprob] : got.top_logprobs) EXPECT_TRUE(id < 200 && id % 5 >= 3) << id;
  }
}

TEST(Sampler, NoCandidateIsSaid) {
  SamplerScratch scratch;
  const std::vector<float> bad = {kNan, -kInf, kNan};
  const SampledRow got = sample(row_of(bad), {}, scratch);
  EXPECT_TRUE(got.no_candidate);
  EXPECT_EQ(got.token, 0);
  EXPECT_TRUE(sample(row_of({}), {}, scratch).no_candidate);
  const std::vector<float> one = {kNan, -kInf, 3};
  const SampledRow single = sample(row_of(one), {}, scratch);
  EXPECT_FALSE(single.no_candidate);
  EXPECT_EQ(single.token, 2);
}

TEST(Sampler, ExtremeValuesStayFinite) {
  SamplerScratch scratch;
  const std::vector<float> logits = {-3e38F, 3e38F, kInf, 1e30F};
  SamplingParams p;
  p.repetition_penalty = 0.001F;
  p.top_logprobs = 4;
  const std::vector<std::int32_t> seen = {0, 1, 3};
  for (const float t : {0.0F, 1e-30F, 1.0F, kInf}) {
    p.temperature = t;
    SamplingRow row = row_of(logits);
    row.prompt = seen;
    const SampledRow got = sample(row, p, scratch);
    EXPECT_FALSE(got.no_candidate);
    EXPECT_TRUE(std::isfinite(got.logprob));
  }
}

TEST(Sampler, LogprobsAreOfTheDistributionBeforeTemperatureAndFilters) {
  const std::vector<float> logits = {1, 2, 3, 3, -1};
  SamplerScratch scratch;
  SamplingParams hot;
  hot.top_logprobs = 3;
  hot.temperature = 1.7F;
  hot.top_k = 1;
  const SampledRow got = sample(row_of(logits), hot, scratch);
  double z = 0;
  for (const float l : logits) z += std::exp(static_cast<double>(l));
  ASSERT_EQ(got.top_logprobs.size(), 3U);
  EXPECT_EQ(got.top_logprobs[0].first, 2);
  EXPECT_EQ(got.top_logprobs[1].first, 3);
  EXPECT_EQ(got.top_logprobs[2].first, 1);
  EXPECT_NEAR(got.top_logprobs[2].second, 2 - std::log(z), 1e-6);
  EXPECT_EQ(got.token, 2);
  EXPECT_EQ(got.logprob, got.top_logprobs[0].second);
}

TEST(Sampler, NoiseIsGumbel) {
  // Mean 0.5772 and variance pi^2/6 over 40,000 draws: standard errors 0.0064 and 0.022.
  double sum = 0, squares = 0;
  for (int i = 0; i < 40000; ++i) {
    const double g = gumbel_noise(42, static_cast<std::uint64_t>(i / 200), i % 200);
    sum += g;
    squares += g * g;
  }
  const double mean = sum / 40000;
  EXPECT_NEAR(mean, 0.5772, 0.026);
  EXPECT_NEAR(squares / 40000 - mean * mean, 1.6449, 0.09);
  EXPECT_EQ(gumbel_noise(1, 2, 3), gumbel_noise(1, 2, 3));
}

TEST(Sampler, NoiseIsPinned) {
  // Golden: another value here is another arithmetic, and answers in flight would change (X3). Word 0 of
  // Philox(0, 0).
  EXPECT_FLOAT_EQ(gumbel_noise(0, 0, 0),
                  static_cast<float>(-std::log(-std::log((0x6627e8d5 + 0.5) * 0x1p-32))));
  EXPECT_FLOAT_EQ(gumbel_noise(0, 0, 3),
                  static_cast<float>(-std::log(-std::log((0x9b00dbd8 + 0.5) * 0x1p-32))));
}

}  // namespace
}  // namespace leadline::worker
