// Chi-square tests of sample() against the warped distribution, and the same tests on samplers with planted
// bugs, which must fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "worker/sampling/sampler.h"

namespace leadline::worker {
namespace {

using Sampler =
    std::function<std::int32_t(const std::vector<float>&, const SamplingParams&, std::uint64_t position)>;

constexpr int kDraws = 4000;

std::vector<float> logits_of_test() {
  std::vector<float> logits(24);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = 2.5F * std::sin(static_cast<float>(7 * i + 1)) + 0.1F * i;
  return logits;
}

std::vector<double> expected(const std::vector<float>& logits, const SamplingParams& p) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  std::vector<double> out(logits.size(), 0.0);
  double z = 0;
  for (std::size_t r = 0; r < order.size(); ++r) {
    if (p.top_k > 0 && r >= static_cast<std::size_t>(p.top_k)) break;
    z += out[order[r]] = std::exp(logits[order[r]] / static_cast<double>(p.temperature));
  }
  for (double& v : out) v /= z;
  return out;
}

// Chi-square over ids with at least 5 expected draws, the others as one cell; an impossible id counts as
// failure. Returns the p-value's normal approximation (Wilson-Hilferty): above 4.5 is p < 4e-6.
double chi_square_score(const Sampler& sampler, const SamplingParams& base, bool vary_position) {
  const std::vector<float> logits = logits_of_test();
  const std::vector<double> want = expected(logits, base);
  std::vector<int> seen(logits.size(), 0);
  for (int i = 0; i < kDraws; ++i) {
    SamplingParams p = base;
    p.seed = vary_position ? 77 : static_cast<std::uint64_t>(i);
    const auto position = vary_position ? static_cast<std::uint64_t>(i) : 5;
    ++seen[static_cast<std::size_t>(sampler(logits, p, position))];
  }
  double chi = 0, rest_want = 0;
  int rest_seen = 0, cells = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double e = want[i] * kDraws;
    if (e == 0 && seen[i] > 0) return std::numeric_limits<double>::infinity();
    if (e < 5) {
      rest_want += e;
      rest_seen += seen[i];
      continue;
    }
    chi += (seen[i] - e) * (seen[i] - e) / e;
    ++cells;
  }
  if (rest_want >= 1) chi += (rest_seen - rest_want) * (rest_seen - rest_want) / rest_want, ++cells;
  const double k = cells - 1, c = 2 / (9 * k);
  return (std::cbrt(chi / k) - (1 - c)) / std::sqrt(c);
}

std::int32_t real_sampler(const std::vector<float>& logits, const SamplingParams& p, std::uint64_t position) {
  SamplingRow row;
  row.logits = logits;
  row.allowed_vocab = static_cast<std::int32_t>(logits.size());
  row.position = position;
  SamplerScratch scratch;
  return sample(row, p, scratch).token;
}

SamplingParams warm(std::int32_t top_k) {
  SamplingParams p;
  p.temperature = 1.6F;
  p.top_k = top_k;
  return p;
}

TEST(SamplerDistribution, MatchesTheWarpedDistribution) {
  for (const std::int32_t k : {0, 8})
    for (const bool vary_position : {true, false})
      EXPECT_LT(chi_square_score(real_sampler, warm(k), vary_position), 4.5);
}

TEST(SamplerDistribution, FindsNoiseReusedBetweenPositions) {
  const Sampler bug = [](const auto& logits, const auto& p, std::uint64_t) {
    return real_sampler(logits, p, 0);
  };
  EXPECT_GT(chi_square_score(bug, warm(0), true), 4.5);
}

TEST(SamplerDistribution, FindsNoiseThatIgnoresTheSeed) {
  const Sampler bug = [](const auto& logits, SamplingParams p, std::uint64_t position) {
    p.seed = 0;
    return real_sampler(logits, p, position);
  };
  EXPECT_GT(chi_square_score(bug, warm(0), false), 4.5);
}

TEST(SamplerDistribution, FindsTemperatureAppliedTwice) {
  const Sampler bug = [](const auto& logits, SamplingParams p, std::uint64_t position) {
    p.temperature *= p.temperature;
    return real_sampler(logits, p, position);
  };
  EXPECT_GT(chi_square_score(bug, warm(0), true), 4.5);
}

TEST(SamplerDistribution, FindsAFilterAfterTheNoise) {
  // Noise first, then top-k of the noisy scores: the best of all is always among them, so the filter does
  // nothing.
  const Sampler bug = [](const auto& logits, SamplingParams p, std::uint64_t position) {
    p.top_k = 0;
    return real_sampler(logits, p, position);
  };
  EXPECT_GT(chi_square_score(bug, warm(8), true), 4.5);
}

TEST(SamplerDistribution, FindsOneNoiseForNeighbouringIds) {
  const Sampler bug = [](const std::vector<float>& logits, const SamplingParams& p, std::uint64_t position) {
    std::int32_t best = 0;
    double best_score = -1e30;
    for (std::int32_t id = 0; id < static_cast<std::int32_t>(logits.size()); ++id) {
      const double score = logits[id] / p.temperature + gumbel_noise(p.seed, position, id / 4 * 4);
      if (score > best_score) best = id, best_score = score;
    }
    return best;
  };
  EXPECT_GT(chi_square_score(bug, warm(0), true), 4.5);
}

TEST(SamplerDistribution, ConsecutivePositionsAreIndependent) {
  // Pairs (token at t, token at t+1) over two classes: a 2x2 table with product expectations.
  const std::vector<float> logits = {0, 0};
  int table[2][2] = {};
  std::int32_t last = 0;
  for (std::uint64_t t = 0; t <= kDraws; ++t) {
    const std::int32_t token = real_sampler(logits, warm(0), t);
    if (t > 0) ++table[last][token];
    last = token;
  }
  double chi = 0;
  for (const auto& r : table)
    for (const int n : r) chi += (n - kDraws / 4.0) * (n - kDraws / 4.0) / (kDraws / 4.0);
  EXPECT_LT(chi, 27.0);  // 3 degrees of freedom: p = 6e-6
}

}  // namespace
}  // namespace leadline::worker
