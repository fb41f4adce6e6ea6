// The law that the sampler claims, at the power of 10^7 draws: for ten fixed distributions of 16 tokens,
// draws over seeds and positions against the exact probabilities, chi-square at 0.01 with Bonferroni. The
// same test finds planted bugs. Independent draws only: tokens of generated text depend on each other and are
// not pooled.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "worker/sampling/sampler.h"

namespace leadline::worker {
namespace {

constexpr std::size_t kTokens = 16;
constexpr int kDistributions = 10;
constexpr double kLevel = 0.01 / kDistributions;

struct Case {
  std::vector<float> logits;
  SamplingParams params;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (int i = 0; i < kDistributions; ++i) {
    Case c;
    for (std::size_t t = 0; t < kTokens; ++t)
      c.logits.push_back((0.4F + 0.35F * static_cast<float>(i)) *
                         std::sin(static_cast<float>(3 * i + 1) * static_cast<float>(t + 1)));
    const float temperatures[] = {1.0F, 0.6F, 1.7F, 1.0F, 0.8F, 1.0F, 2.0F, 1.3F, 0.7F, 1.0F};
    c.params.temperature = temperatures[i];
    if (i == 3) c.params.top_k = 7;
    if (i == 4) c.params.top_p = 0.8F;
    if (i == 5) c.params.min_p = 0.15F;
    if (i == 6) c.params.top_k = 9, c.params.top_p = 0.9F;
    if (i == 7) c.params.logit_bias = {{3, 2.0F}, {5, -1.5F}};
    out.push_back(std::move(c));
  }
  return out;
}

// The definition in sampler.h, in f64: bias, temperature, top-k, top-p, min-p, renormalised.
std::vector<double> exact(const Case& c) {
  std::vector<double> x(c.logits.begin(), c.logits.end());
  for (const auto& [id, bias] : c.params.logit_bias) x[static_cast<std::size_t>(id)] += bias;
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
  const std::size_t k = c.params.top_k > 0 ? static_cast<std::size_t>(c.params.top_k) : order.size();
  const auto weight = [&](std::size_t id) { return std::exp((x[id] - x[order[0]]) / c.params.temperature); };
  double mass = 0, before = 0;
  for (std::size_t r = 0; r < k; ++r) mass += weight(order[r]);
  std::vector<double> p(x.size(), 0.0);
  for (std::size_t r = 0; r < k; ++r) {
    const double w = weight(order[r]);
    if ((c.params.top_p >= 1 || before / mass < c.params.top_p) && w >= c.params.min_p) p[order[r]] = w;
    before += w;
  }
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= sum;
  return p;
}

// Upper tail of chi-square with k degrees of freedom: Q(k/2, x/2), by its series or continued fraction.
double tail(double x, double k) {
  const double a = k / 2, y = x / 2, head = std::exp(a * std::log(y) - y - std::lgamma(a));
  if (y < a + 1) {
    double term = 1 / a, sum = term;
    for (int n = 1; n < 1000; ++n) sum += term *= y / (a + n);
    return 1 - head * sum;
  }
  double b = y + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int n = 1; n < 1000; ++n) {
    const double an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    h *= d * c;
  }
  return head * h;
}

using Draw = std::function<std::int32_t(const Case&, std::uint64_t seed, std::uint64_t position)>;

// Draws over a grid of seeds and positions; 0 if an impossible token appears.
double p_value(const Case& c, const Draw& draw, std::uint64_t seeds, std::uint64_t positions) {
  const std::vector<double> want = exact(c);
  std::vector<std::uint64_t> seen(kTokens, 0);
  for (std::uint64_t s = 0; s < seeds; ++s)
    for (std::uint64_t at = 0; at < positions; ++at)
      ++seen[static_cast<std::size_t>(draw(c, s * 7919 + 13, at))];
  double chi = 0, cells = 0;
  for (std::size_t t = 0; t < kTokens; ++t) {
    const double expected = want[t] * static_cast<double>(seeds * positions);
    if (expected == 0 && seen[t] > 0) return 0;
    if (expected == 0) continue;
    const double off = static_cast<double>(seen[t]) - expected;
    chi += off * off / expected;
    ++cells;
  }
  return tail(chi, cells - 1);
}

std::int32_t real(const Case& c, std::uint64_t seed, std::uint64_t position) {
  static SamplerScratch scratch;
  static SamplingParams params;
  params = c.params;
  params.seed = seed;
  SamplingRow row;
  row.logits = c.logits;
  row.allowed_vocab = kTokens;
  row.position = position;
  return sample(row, params, scratch).token;
}

TEST(SamplerLaw, TheTailIsThatOfChiSquare) {  // table values
  EXPECT_NEAR(tail(24.996, 15), 0.05, 1e-5);
  EXPECT_NEAR(tail(30.578, 15), 0.01, 1e-5);
  EXPECT_NEAR(tail(37.697, 15), 0.001, 1e-5);
  EXPECT_NEAR(tail(7.261, 15), 0.95, 1e-5);
}

TEST(SamplerLaw, TenDistributionsOfTenMillionDraws) {
  for (const Case& c : cases()) {
    const double p = p_value(c, real, 2500, 4000);
    std::printf("temperature %.1f, p = %.4f\n", static_cast<double>(c.params.temperature), p);
    EXPECT_GT(p, kLevel);
  }
}

// Found on at least one of the ten; on those where it does nothing (no filter, temperature 1) it cannot be.
bool found(const Draw& bug) {
  const std::vector<Case> all = cases();
  return std::any_of(all.begin(), all.end(),
                     [&](const Case& c) { return p_value(c, bug, 500, 1000) < kLevel; });
}

TEST(SamplerLaw, TheSameDrawsOfTheRealOneAreNotFound) {
  EXPECT_FALSE(found(real));
}

TEST(SamplerLaw, FindsNoiseReusedBetweenPositions) {
  // Every position draws with the noise of its page of 64: far too few independent draws.
  EXPECT_TRUE(found([](const Case& c, std::uint64_t seed, std::uint64_t position) {
    return real(c, seed, position / 64);
  }));
}

TEST(SamplerLaw, FindsTemperatureAppliedTwice) {
  EXPECT_TRUE(found([](Case c, std::uint64_t seed, std::uint64_t position) {
    c.params.temperature *= c.params.temperature;
    return real(c, seed, position);
  }));
}

TEST(SamplerLaw, FindsAFilterAppliedAfterTheNoise) {
  // The best noisy score of all is kept by any filter of noisy scores: the filter does nothing.
  EXPECT_TRUE(found([](Case c, std::uint64_t seed, std::uint64_t position) {
    c.params.top_k = 0;
    c.params.top_p = 1;
    c.params.min_p = 0;
    return real(c, seed, position);
  }));
}

TEST(SamplerLaw, FindsNoiseSharedByNeighbouringTokens) {
  EXPECT_TRUE(found([](const Case& c, std::uint64_t seed, std::uint64_t position) {
    double best = -1e300;
    std::int32_t token = 0;
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(kTokens); ++t) {
      const double score = c.logits[static_cast<std::size_t>(t)] / static_cast<double>(c.params.temperature) +
                           gumbel_noise(seed, position, t / 2);
      if (score > best) best = score, token = t;
    }
    return token;
  }));
}

}  // namespace
}  // namespace leadline::worker
