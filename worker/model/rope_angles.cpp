#include "worker/model/rope_angles.h"

#include <cmath>
#include <numbers>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

// Llama 3.1: waves that fit often into the original context are kept, those longer than it are slowed by
// `factor`, and between the two the frequency goes over linearly in (original context / wavelength).
double scale_llama3(const ModelConfig& c, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double original = c.rope_original_positions;
  if (wavelength < original / c.rope_high_freq_factor) return frequency;
  if (wavelength > original / c.rope_low_freq_factor) return frequency / c.rope_factor;
  const double keep =
      (original / wavelength - c.rope_low_freq_factor) / (c.rope_high_freq_factor - c.rope_low_freq_factor);
  return (1 - keep) * frequency / c.rope_factor + keep * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double frequency = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / config.head_dim);
    switch (config.rope_scaling) {
      case RopeScaling::none:
        frequencies[i] = frequency;
        break;
      case RopeScaling::linear:
        frequencies[i] = frequency / config.rope_factor;
        break;
      case RopeScaling::llama3:
        frequencies[i] = scale_llama3(config, frequency);
        break;
    }
  }
  return frequencies;
}

void fill_rope_angles(const ModelConfig& config, std::int32_t positions, std::span<float> cos,
                      std::span<float> sin) {
  const std::vector<double> frequencies = rope_frequencies(config);
  LEADLINE_CHECK(
      cos.size() == frequencies.size() * static_cast<std::size_t>(positions) && sin.size() == cos.size(),
      "RoPE tables have (positions, head_dim / 2) entries");
  std::size_t at = 0;
  for (std::int32_t position = 0; position < positions; ++position) {
    for (const double frequency : frequencies) {
      cos[at] = static_cast<float>(std::cos(position * frequency));
      sin[at] = static_cast<float>(std::sin(position * frequency));
      ++at;
    }
  }
}

}  // namespace leadline::worker
