#include "worker/model/rope_angles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace leadline::worker {
namespace {

ModelConfig llama31() {
  ModelConfig c;
  c.head_dim = 128;
  c.rope_theta = 500000;
  c.rope_scaling = RopeScaling::llama3;
  c.rope_factor = 8;
  c.rope_low_freq_factor = 1;
  c.rope_high_freq_factor = 4;
  c.rope_original_positions = 8192;
  return c;
}

TEST(RopeAngles, PlainFrequenciesArePowersOfTheta) {
  ModelConfig c = llama31();
  c.rope_scaling = RopeScaling::none;
  const auto f = rope_frequencies(c);
  ASSERT_EQ(f.size(), 64U);
  EXPECT_EQ(f[0], 1.0);
  EXPECT_NEAR(f[32], 1 / std::sqrt(500000.0), 1e-15);
}

TEST(RopeAngles, Llama3KeepsFastWavesAndSlowsLongOnes) {
  const auto scaled = rope_frequencies(llama31());
  ModelConfig plain_config = llama31();
  plain_config.rope_scaling = RopeScaling::none;
  const auto plain = rope_frequencies(plain_config);
  bool between = false;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double turns = 8192 * plain[i] / (2 * std::numbers::pi);  // of the original context
    if (turns > 4) {
      EXPECT_EQ(scaled[i], plain[i]);
    } else if (turns < 1) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 8);
    } else {
      between = true;
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 8);
    }
  }
  EXPECT_TRUE(between);
}

TEST(RopeAngles, LinearScalingDividesPositions) {
  ModelConfig c = llama31();
  c.rope_scaling = RopeScaling::linear;
  c.rope_factor = 2;
  std::vector<float> cos(5 * 64), sin(5 * 64);
  fill_rope_angles(c, 5, cos, sin);
  EXPECT_EQ(cos[0], 1.0F);
  EXPECT_EQ(cos[4 * 64], static_cast<float>(std::cos(2.0)));  // position 4 as position 2
  EXPECT_EQ(sin[4 * 64], static_cast<float>(std::sin(2.0)));
}

}  // namespace
}  // namespace leadline::worker
