// Probabilities for the taps: against softmax written out, and the same bits for any cut of the rows.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "worker/compression/window_scores.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;

struct Sample {
  static constexpr std::uint32_t kDim = 20, kGroup = 3, kSlots = 150;
  std::vector<float> keys, queries;
  Sample() {
    std::mt19937 random(4);
    std::normal_distribution<float> normal;
    keys.resize(std::size_t{kSlots} * kDim);
    queries.resize(std::size_t{kSlots} * kGroup * kDim);
    for (float& x : keys) x = normal(random);
    for (float& x : queries) x = normal(random);
  }
  [[nodiscard]] QueryRows rows(std::uint32_t first, std::uint32_t count) const {
    return {.queries = queries.data() + std::size_t{first} * kGroup * kDim,
            .row_stride = kGroup * kDim,
            .rows = count,
            .group = kGroup,
            .head_dim = kDim,
            .first = first,
            .scale = 0.3F};
  }
};

TEST(WindowScores, AreSoftmaxRowsOfTheGroupsMean) {
  const Sample s;
  std::vector<float> got(Sample::kSlots);
  add_probabilities(s.rows(140, 10), s.keys, got);
  std::vector<double> want(Sample::kSlots);
  for (std::uint32_t r = 140; r < 150; ++r)
    for (std::uint32_t g = 0; g < Sample::kGroup; ++g) {
      std::vector<double> p(r + 1);
      double total = 0;
      for (std::uint32_t j = 0; j <= r; ++j) {
        double dot = 0;
        for (std::uint32_t d = 0; d < Sample::kDim; ++d)
          dot += double{s.queries[(std::size_t{r} * Sample::kGroup + g) * Sample::kDim + d]} *
                 s.keys[std::size_t{j} * Sample::kDim + d];
        total += p[j] = std::exp(dot * 0.3);
      }
      for (std::uint32_t j = 0; j <= r; ++j) want[j] += p[j] / total / Sample::kGroup;
    }
  for (std::uint32_t j = 0; j < Sample::kSlots; ++j) EXPECT_NEAR(got[j], want[j], 1e-5) << j;
}

TEST(WindowScores, AnyCutOfTheRowsGivesTheSameBits) {
  const Sample s;
  std::vector<float> whole(Sample::kSlots);
  add_probabilities(s.rows(0, Sample::kSlots), s.keys, whole);
  for (const std::uint32_t chunk : {1U, 7U, 16U, 33U, 64U}) {
    std::vector<float> cut(Sample::kSlots);
    for (std::uint32_t first = 0; first < Sample::kSlots; first += chunk)
      add_probabilities(s.rows(first, std::min(chunk, Sample::kSlots - first)), s.keys, cut);
    EXPECT_EQ(cut, whole) << "rows of " << chunk;
  }
}

}  // namespace
}  // namespace leadline::tests
