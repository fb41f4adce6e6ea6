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
  fill_rope_angles(c, 0, cos, sin);
  EXPECT_EQ(cos[0], 1.0F);
  EXPECT_EQ(cos[4 * 64], static_cast<float>(std::cos(2.0)));  // position 4 as position 2
  EXPECT_EQ(sin[4 * 64], static_cast<float>(std::sin(2.0)));
}

TEST(RopeAngles, TablesFilledInPartsAreThoseFilledAtOnce) {
  constexpr std::int32_t kPositions = 2500;  // no multiple of what is filled together
  const ModelConfig c = llama31();
  const auto half = static_cast<std::size_t>(c.head_dim / 2);
  std::vector<float> cos(kPositions * half), sin(kPositions * half);
  fill_rope_angles(c, 0, cos, sin);
  BackendOptions options;
  options.device = "cpu";
  auto backend = make_backend(options);
  ASSERT_TRUE(backend);
  RopeAngles angles;
  ASSERT_TRUE(angles.allocate(c, kPositions, **backend));
  for (const std::int32_t end : {1, 1024, 1025, 7, kPositions}) {
    SequenceRows rows;
    rows.first_position = end - 1;
    rows.rows = 1;
    angles.reach(std::span(&rows, 1));
    const auto count = static_cast<std::size_t>(end) * half;
    EXPECT_TRUE(std::equal(cos.begin(), cos.begin() + static_cast<std::ptrdiff_t>(count), angles.table().cos))
        << end;
    EXPECT_TRUE(std::equal(sin.begin(), sin.begin() + static_cast<std::ptrdiff_t>(count), angles.table().sin))
        << end;
  }
}

}  // namespace
}  // namespace leadline::worker
