// Selections against full sorts, over awkward sizes, ties and absent values.
#include "worker/sampling/logit_select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace leadline::worker {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();

std::vector<float> random_row(std::mt19937& rng, std::size_t n, bool ties) {
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> v(n);
  for (float& x : v) {
    x = ties ? std::floor(normal(rng)) : normal(rng);
    if (rng() % 16 == 0) x = kAbsent;
  }
  return v;
}

std::vector<std::int32_t> sorted_ids(const std::vector<float>& v) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < v.size(); ++i)
    if (v[i] != kAbsent) ids.push_back(static_cast<std::int32_t>(i));
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return v[a] > v[b]; });
  return ids;
}

TEST(LogitSelect, TopKIsThePrefixOfTheSort) {
  std::mt19937 rng(1);
  std::vector<std::int32_t> got;
  for (const std::size_t n : {1U, 2U, 31U, 32U, 33U, 1000U, 4096U})
    for (const std::int32_t k : {1, 2, 20, 33, 128, 5000})
      for (const bool ties : {false, true}) {
        std::vector<float> v = random_row(rng, n, ties);
        std::vector<std::int32_t> want = sorted_ids(v);
        want.resize(std::min(want.size(), static_cast<std::size_t>(k)));
        select_top_k(v, k, got);
        EXPECT_EQ(got, want) << n << " " << k;
        keep_top_k(v, k, got);
        EXPECT_EQ(sorted_ids(v), want) << n << " " << k;
      }
}

TEST(LogitSelect, ArgMaxTakesTheFirstOfEquals) {
  EXPECT_EQ(arg_max(std::vector<float>{}), -1);
  EXPECT_EQ(arg_max(std::vector<float>(40, kAbsent)), -1);
  std::vector<float> v(50, -3.0F);
  v[17] = v[41] = 2.0F;
  EXPECT_EQ(arg_max(v), 17);
}

TEST(LogitSelect, SumExpIsCloseToDouble) {
  std::mt19937 rng(2);
  for (const std::size_t n : {1U, 15U, 16U, 17U, 5000U}) {
    std::vector<float> v = random_row(rng, n, false);
    v[n / 2] = 30.0F;
    double want = 0;
    for (const float x : v) want += std::exp(static_cast<double>(x) - 30.0);
    EXPECT_NEAR(sum_exp(v, 30.0F) / want, 1.0, 5e-7);
  }
}

TEST(LogitSelect, TopPKeepsTheSmallestSetThatReachesP) {
  std::mt19937 rng(3);
  std::vector<float> weights;
  std::vector<std::int32_t> scratch;
  int compared = 0;
  for (const std::size_t n : {1U, 5U, 64U, 1000U, 4096U})
    for (const float p : {0.0F, 0.01F, 0.3F, 0.5F, 0.9F, 0.99F, 0.9999F})
      for (const bool ties : {false, true}) {
        std::vector<float> v = random_row(rng, n, ties);
        v[n / 2] = 12.0F;
        const float max = *std::max_element(v.begin(), v.end());
        for (float& x : v) x -= max;
        std::vector<std::int32_t> want = sorted_ids(v);
        double total = 0, sum = 0, nearest = 1;
        for (const auto id : want) total += std::exp(static_cast<double>(v[id]));
        std::size_t kept = 0;
        do {
          sum += std::exp(static_cast<double>(v[want[kept++]])) / total;
          nearest = std::min(nearest, std::abs(sum - p));
        } while (kept < want.size() && sum < p);
        if (nearest < 1e-6) continue;  // the edge is within the rounding of the sums
        want.resize(kept);
        keep_top_p(v, p, weights, scratch);
        EXPECT_EQ(sorted_ids(v), want) << n << " " << p << " " << ties;
        ++compared;
      }
  EXPECT_GT(compared, 50);
}

TEST(LogitSelect, TopPOnKnownProbabilities) {
  // .5, .25, .125, .125: exact in floats; p = .75 is reached by two, anything above needs the third, the
  // smaller id first.
  const auto kept = [](float p) {
    std::vector<float> v = {std::log(0.25F), 0, std::log(0.25F), std::log(0.5F)};
    std::vector<float> w;
    std::vector<std::int32_t> s;
    keep_top_p(v, p, w, s);
    return sorted_ids(v);
  };
  EXPECT_EQ(kept(0.4F), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(kept(0.6F), (std::vector<std::int32_t>{1, 3}));
  EXPECT_EQ(kept(0.76F), (std::vector<std::int32_t>{1, 3, 0}));
  EXPECT_EQ(kept(0.9F), (std::vector<std::int32_t>{1, 3, 0, 2}));
}

}  // namespace
}  // namespace leadline::worker
