// Each method against a plain reading of its paper, on small arrays.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/unit/worker/compression/sample_head.h"
#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;

std::vector<std::uint32_t> slots_of(const SlotGroups& groups) {
  EXPECT_FALSE(groups.merges());
  return groups.members;
}

CompressionParams at(float ratio) {
  CompressionParams p;
  p.ratio = ratio;
  return p;
}

// The plainest top-k: pins, then the best of the rest, one at a time.
std::vector<std::uint32_t> plain_choice(const std::vector<float>& scores, std::uint32_t first,
                                        std::uint32_t recent, std::uint32_t budget) {
  std::vector<std::uint32_t> kept;
  std::vector<bool> taken(scores.size());
  const auto take = [&](std::size_t i) {
    taken[i] = true;
    kept.push_back(static_cast<std::uint32_t>(i));
  };
  for (std::uint32_t i = 0; i < first; ++i) take(i);
  for (std::uint32_t i = 0; i < recent; ++i) take(scores.size() - 1 - i);
  while (kept.size() < budget) {
    std::size_t best = SIZE_MAX;
    for (std::size_t i = 0; i < scores.size(); ++i)
      if (!taken[i] && (best == SIZE_MAX || scores[i] >= scores[best])) best = i;
    take(best);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

TEST(MethodChoices, SnapKv) {
  const SampleHead head(300);
  std::vector<float> pooled(300);
  for (int i = 0; i < 300; ++i) {
    float sum = 0;
    for (int j = i - 2; j <= i + 2; ++j)
      sum += j < 0 || j >= 300 ? 0 : head.window[static_cast<std::size_t>(j)];
    pooled[static_cast<std::size_t>(i)] = sum / 5;
  }
  EXPECT_EQ(slots_of(decide(*find_method("snapkv"), at(0.4F), head.input)), plain_choice(pooled, 4, 30, 120));
}

TEST(MethodChoices, H2o) {
  const SampleHead head(300);
  EXPECT_EQ(slots_of(decide(*find_method("h2o"), at(0.4F), head.input)),
            plain_choice(head.columns, 4, 60, 120));
}

TEST(MethodChoices, Streaming) {
  const SampleHead head(100);
  std::vector<std::uint32_t> want = {0, 1, 2, 3};
  for (std::uint32_t i = 84; i < 100; ++i) want.push_back(i);
  EXPECT_EQ(slots_of(decide(*find_method("streaming"), at(0.2F), head.input)), want);
}

TEST(MethodChoices, KeyDiff) {
  const SampleHead head(200);
  const std::uint32_t dim = head.input.head_dim;
  std::vector<double> anchor(dim);
  const auto norm = [&](std::size_t i) {
    double sum = 0;
    for (std::size_t d = 0; d < dim; ++d) sum += double{head.keys[i * dim + d]} * head.keys[i * dim + d];
    return std::sqrt(sum);
  };
  for (std::size_t i = 0; i < 200; ++i)
    for (std::size_t d = 0; d < dim; ++d) anchor[d] += head.keys[i * dim + d] / norm(i);
  const double length = std::sqrt(std::inner_product(anchor.begin(), anchor.end(), anchor.begin(), 0.0));
  std::vector<float> scores(200), got(200);
  for (std::size_t i = 0; i < 200; ++i) {
    double product = 0;
    for (std::size_t d = 0; d < dim; ++d) product += anchor[d] * head.keys[i * dim + d];
    scores[i] = static_cast<float>(-product / norm(i) / length);
  }
  score_key_difference(head.input, at(1), got);
  for (std::size_t i = 0; i < 200; ++i) EXPECT_NEAR(got[i], scores[i], 1e-5);
}

TEST(MethodChoices, RandomIsDrawnPerHeadAndBySeed) {
  SampleHead head(400);
  const SlotGroups once = decide(*find_method("random"), at(0.3F), head.input);
  EXPECT_EQ(decide(*find_method("random"), at(0.3F), head.input), once);
  head.input.head = 2;
  EXPECT_NE(decide(*find_method("random"), at(0.3F), head.input), once);
  head.input.head = 1;
  head.input.seed = 100;
  EXPECT_NE(decide(*find_method("random"), at(0.3F), head.input), once);
}

// Which slots stay hangs on its bits: they are those of the plain loop over 16 lanes.
TEST(Scores, ProductsAddInOneOrder) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> a(200), b(200);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = normal(random), b[i] = normal(random);
  for (std::uint32_t n = 0; n <= a.size(); ++n) {
    std::array<float, 16> lanes{};
    for (std::uint32_t i = 0; i < n; ++i) lanes[i % 16] += a[i] * b[i];
    for (std::uint32_t width = 8; width > 0; width /= 2)
      for (std::uint32_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
    ASSERT_EQ(dot(a.data(), b.data(), n), lanes[0]) << n;
  }
}

TEST(MethodChoices, TiesGoToTheNewer) {
  SampleHead head(40);
  std::fill(head.columns.begin(), head.columns.end(), 1.0F);
  CompressionParams p = at(0.5F);
  p.pins = {.first = 0, .recent = 0, .prefix = 0};
  const std::vector<std::uint32_t> kept = slots_of(select_best(head.input, p, head.columns, 10));
  EXPECT_EQ(kept.front(), 30U);
}

TEST(MethodChoices, ReviewWindowsAreWholeAndInTextOrder) {
  SampleHead head(128);
  for (std::uint32_t i = 0; i < 128; ++i) head.window[i] = i / 8 == 5 || i / 8 == 9 ? 2.0F : 0.1F;
  CompressionParams p = at(0.25F);
  p.pins = {.first = 0, .recent = 8, .prefix = 0};
  std::vector<float> scores(128);
  score_review_windows(head.input, p, scores);
  const std::vector<std::uint32_t> kept = slots_of(select_review_windows(head.input, p, scores, 24));
  std::vector<std::uint32_t> want;
  for (std::uint32_t i = 40; i < 48; ++i) want.push_back(i);
  for (std::uint32_t i = 72; i < 80; ++i) want.push_back(i);
  for (std::uint32_t i = 120; i < 128; ++i) want.push_back(i);  // a quarter of the budget, and what is over
  EXPECT_EQ(kept, want);
}

TEST(MethodChoices, TheTaskSaysHowAReviewWindowIsScored) {
  SampleHead head(16);
  head.window = {9, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2};
  head.input.window = head.window;
  std::vector<float> scores(16);
  CompressionParams p;
  score_review_windows(head.input, p, scores);  // localisation: mean of the best four
  EXPECT_FLOAT_EQ(scores[0], 2.25F);
  EXPECT_FLOAT_EQ(scores[8], 2.0F);
  p.task = 1;
  score_review_windows(head.input, p, scores);
  EXPECT_FLOAT_EQ(scores[0], 1.125F);
  EXPECT_FLOAT_EQ(scores[8], 2.0F);
}

TEST(Budgets, PyramidFallsOnAStraightLine) {
  CompressionParams p = at(0.2F);
  double sum = 0, last = 1e9;
  for (std::uint32_t l = 0; l < 12; ++l) {
    const double b = pyramid_budget(p, 4000, l, 12);
    EXPECT_LT(b, last);
    last = b;
    sum += b;
  }
  EXPECT_NEAR(sum / 12, 800, 1);
  EXPECT_NEAR(pyramid_budget(p, 4000, 11, 12), 32 + 768 / 20.0, 1);
  p.ratio = 0.8F;  // clipped at the prompt
  EXPECT_EQ(pyramid_budget(p, 1000, 0, 12), 1000U);
}

TEST(Budgets, GroupsOfLayersShareAnArithmeticBudget) {
  CompressionParams p;
  p.tokens = 2048;
  const std::uint32_t want[] = {2925, 2340, 1755, 1170};  // the released code's, of 32 layers, less rounding
  for (std::uint32_t l = 0; l < 32; ++l) EXPECT_NEAR(grouped_budget(p, 100'000, l, 32), want[l / 8], 1.01);
  for (const std::uint32_t layers : {5U, 12U, 22U, 33U})
    for (const std::uint32_t slots : {2200U, 2500U, 9000U}) {
      double sum = 0;
      for (std::uint32_t l = 0; l < layers; ++l) sum += grouped_budget(p, slots, l, layers);
      EXPECT_NEAR(sum / layers, 2048, 1.5) << layers << " layers of " << slots;
    }
}

TEST(Mergers, EqualKeysMergeExactly) {
  // Five equal keys with values 0..4: softmax over them = one core of their mean, weighted by its count.
  const std::uint32_t dim = 4;
  std::vector<float> keys(6 * dim, 0.5F), values(6 * dim);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (std::uint32_t d = 0; d < dim; ++d) keys[5 * dim + d] = -1.0F;
  SlotGroups groups;
  groups.members = {0, 1, 2, 3, 4, 5};
  groups.begin = {0, 5, 6};
  std::vector<float> k(2 * dim), v(2 * dim), bias(2);
  merge_means(groups, {keys, values, dim}, {k, v, bias});
  for (std::uint32_t d = 0; d < dim; ++d) EXPECT_EQ(k[d], 0.5F);
  EXPECT_EQ(bias[1], 0.0F);
  const std::vector<float> q = {0.3F, -0.2F, 0.9F, 0.1F};
  const auto attend = [&](const std::vector<float>& ks, const std::vector<float>& vs,
                          const std::vector<float>& bs) {
    double total = 0;
    std::vector<double> out(dim);
    for (std::size_t i = 0; i < bs.size(); ++i) {
      double score = bs[i];
      for (std::size_t d = 0; d < dim; ++d) score += double{q[d]} * ks[i * dim + d];
      total += std::exp(score);
      for (std::size_t d = 0; d < dim; ++d) out[d] += std::exp(score) * vs[i * dim + d];
    }
    for (double& x : out) x /= total;
    return out;
  };
  const auto want = attend(keys, values, std::vector<float>(6)), got = attend(k, v, bias);
  for (std::size_t d = 0; d < dim; ++d) EXPECT_NEAR(got[d], want[d], 1e-6);
}

}  // namespace
}  // namespace leadline::tests
