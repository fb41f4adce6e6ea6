#pragma once
// Mlp: inference of a small fully connected network with ReLU between its layers. Not training
// (trainer/offline_q). Thread: immutable after construction; any. Allocates nothing when asked.
// Invariant: what valid() accepted has sizes and weights that fit, all finite.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace leadline::policy {

struct Mlp {
  static constexpr std::size_t kMaxWidth = 128, kMaxLayers = 6;
  std::vector<std::uint32_t> sizes;  // inputs, hidden..., outputs
  std::vector<float> weights;        // per layer: (out, in) row-major, then (out) biases

  [[nodiscard]] static std::size_t weights_for(std::span<const std::uint32_t> sizes);
  [[nodiscard]] bool valid() const;
  // REQUIRES valid(), in.size() == sizes.front(), out.size() == sizes.back().
  void run(std::span<const float> in, std::span<float> out) const;
};

}  // namespace leadline::policy
