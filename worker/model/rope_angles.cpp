#include "worker/model/rope_angles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

constexpr std::int32_t kFilledTogether = 1024;  // positions: about a millisecond

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

void fill_rope_angles(const ModelConfig& config, std::int32_t first, std::span<float> cos,
                      std::span<float> sin) {
  const std::vector<double> frequencies = rope_frequencies(config);
  LEADLINE_CHECK(cos.size() % frequencies.size() == 0 && sin.size() == cos.size(),
                 "RoPE tables have (positions, head_dim / 2) entries");
  std::int32_t position = first;
  for (std::size_t at = 0; at < cos.size(); ++position) {
    for (const double frequency : frequencies) {
      cos[at] = static_cast<float>(std::cos(position * frequency));
      sin[at] = static_cast<float>(std::sin(position * frequency));
      ++at;
    }
  }
}

Result<void> RopeAngles::allocate(const ModelConfig& config, std::int32_t positions, Backend& backend) {
  const std::int64_t bytes =
      std::int64_t{positions} * (config.head_dim / 2) * static_cast<std::int64_t>(sizeof(float));
  auto cos = backend.allocate(bytes, "rope cos");
  if (!cos) return tl::unexpected(cos.error());
  auto sin = backend.allocate(bytes, "rope sin");
  if (!sin) return tl::unexpected(sin.error());
  config_ = &config;
  backend_ = &backend;
  cos_ = std::move(*cos);
  sin_ = std::move(*sin);
  table_ = {static_cast<const float*>(cos_->data()), static_cast<const float*>(sin_->data()), positions};
  filled_ = 0;
  return {};
}

void RopeAngles::reach(std::span<const SequenceRows> sequences) {
  std::int32_t end = 0;
  for (const SequenceRows& s : sequences) end = std::max(end, s.first_position + s.rows);
  if (end <= filled_) return;
  LEADLINE_CHECK(end <= table_.max_positions, "positions beyond the RoPE table");
  const std::int32_t first = filled_;
  filled_ = std::min<std::int32_t>(table_.max_positions,
                                   (end + kFilledTogether - 1) / kFilledTogether * kFilledTogether);
  const auto half = static_cast<std::size_t>(config_->head_dim / 2);
  const std::size_t at = static_cast<std::size_t>(first) * half,
                    entries = static_cast<std::size_t>(filled_) * half - at;
  std::vector<float> cos(entries), sin(entries);
  fill_rope_angles(*config_, first, cos, sin);
  const auto bytes = static_cast<std::int64_t>(entries * sizeof(float));
  backend_->upload(static_cast<float*>(cos_->data()) + at, cos.data(), bytes);
  backend_->upload(static_cast<float*>(sin_->data()) + at, sin.data(), bytes);
}

}  // namespace leadline::worker
