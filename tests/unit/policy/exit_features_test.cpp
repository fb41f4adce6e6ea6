#include "policy/exit_features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace leadline::policy {
namespace {

// The definitions as the paper writes them, in double and without tricks.
ProbeReading slowly(const std::vector<float>& logits, int drawn) {
  std::vector<double> p(logits.begin(), logits.end());
  double mass = 0, most = -1e300;
  for (const double v : p) most = std::max(most, v);
  for (double& v : p) mass += v = std::exp(v - most);
  for (double& v : p) v /= mass;
  ProbeReading r;
  double entropy = 0;
  for (const double v : p)
    if (v > 0) entropy -= v * std::log(v);
  r.entropy = static_cast<float>(entropy);
  r.drawn_nll = static_cast<float>(std::min(-std::log(p[static_cast<std::size_t>(drawn)]), 20.0));
  std::sort(p.rbegin(), p.rend());
  double nll = 0;
  for (int i = 0; i < 5; ++i) nll += std::min(-std::log(p[static_cast<std::size_t>(i)]), 20.0) / 5;
  r.top5_nll = static_cast<float>(nll);
  r.top1_probability = static_cast<float>(p[0]);
  r.margin = static_cast<float>(std::min(std::log(p[0] / p[1]), 20.0));
  return r;
}

TEST(ReadProbe, IsTheDefinition) {
  std::mt19937 random(7);
  for (const std::size_t size : {5U, 8U, 31U, 4096U, 32000U}) {
    for (const float sharpness : {0.1F, 1.0F, 4.0F}) {
      std::vector<float> logits(size);
      std::normal_distribution<float> normal(3, sharpness);
      for (float& v : logits) v = normal(random);
      const int drawn = static_cast<int>(random() % size);
      const ProbeReading got = read_probe(logits, drawn), want = slowly(logits, drawn);
      EXPECT_NEAR(got.top5_nll, want.top5_nll, 1e-3);
      EXPECT_NEAR(got.entropy, want.entropy, 1e-3);
      EXPECT_NEAR(got.top1_probability, want.top1_probability, 1e-5);
      EXPECT_NEAR(got.margin, want.margin, 1e-4);
      EXPECT_NEAR(got.drawn_nll, want.drawn_nll, 1e-3);
    }
  }
}

// seed_methods section 1.1's caution: C_l is large when the model is sure.
TEST(ReadProbe, TopFiveOfTheWorkedExample) {
  std::vector<float> sure{std::log(0.99F), std::log(0.0025F), std::log(0.0025F), std::log(0.0025F),
                          std::log(0.0025F)};
  EXPECT_NEAR(read_probe(sure, 0).top5_nll, 4.8, 0.01);
  EXPECT_NEAR(read_probe(std::vector<float>(5, 1.0F), 0).top5_nll, 1.609, 0.001);
}

TEST(ReadProbe, MaskedIdsHaveNoProbabilityAndNothingIsInfinite) {
  const float none = -std::numeric_limits<float>::infinity();
  const ProbeReading one = read_probe(std::vector<float>{none, 2.0F, none}, 1);
  EXPECT_FLOAT_EQ(one.top1_probability, 1);
  EXPECT_FLOAT_EQ(one.entropy, 0);
  EXPECT_FLOAT_EQ(one.margin, kMarginCap);
  EXPECT_FLOAT_EQ(read_probe(std::vector<float>{none, 2.0F, none}, 0).drawn_nll, kNllCap);
  const ProbeReading nothing = read_probe(std::vector<float>(3, none), 0);
  EXPECT_FLOAT_EQ(nothing.top1_probability, 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FLOAT_EQ(read_probe(std::vector<float>{nan, 2.0F, nan}, 1).top1_probability, 1);
}

TEST(ExitFeatures, HoldsFiniteValuesOnly) {
  ExitFeatures f;
  f.set(Feature::entropy, std::numeric_limits<float>::quiet_NaN());
  f.set(Feature::margin, std::numeric_limits<float>::infinity());
  for (const float v : f.values()) EXPECT_TRUE(std::isfinite(v));
}

// A changed feature must change the hash: policies and logs in the field are told apart by it.
TEST(FeatureSchema, HashIsPinned) {
  EXPECT_EQ(feature_schema_hash(), 3026191241719692755ULL);
}

}  // namespace
}  // namespace leadline::policy
