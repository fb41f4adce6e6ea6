#include "policy/mlp.h"

#include <algorithm>
#include <cmath>

namespace leadline::policy {

std::size_t Mlp::weights_for(std::span<const std::uint32_t> sizes) {
  std::size_t all = 0;
  for (std::size_t i = 1; i < sizes.size(); ++i) all += (std::size_t{sizes[i - 1]} + 1) * sizes[i];
  return all;
}

bool Mlp::valid() const {
  if (sizes.size() < 2 || sizes.size() > kMaxLayers) return false;
  const auto fits = [](std::uint32_t n) { return n >= 1 && n <= kMaxWidth; };
  if (!std::ranges::all_of(sizes, fits) || weights.size() != weights_for(sizes)) return false;
  return std::ranges::all_of(weights, [](float w) { return std::isfinite(w) && std::abs(w) < 1e6F; });
}

void Mlp::run(std::span<const float> in, std::span<float> out) const {
  std::array<float, kMaxWidth> first, second;
  std::span<float> from(first), to(second);
  std::ranges::copy(in, from.begin());
  const float* w = weights.data();
  for (std::size_t layer = 1; layer < sizes.size(); ++layer) {
    const std::size_t inputs = sizes[layer - 1], outputs = sizes[layer];
    const float* bias = w + inputs * outputs;
    const bool last = layer + 1 == sizes.size();
    for (std::size_t o = 0; o < outputs; ++o, w += inputs) {
      std::array<float, 8> lanes{};
      std::size_t i = 0;
      for (; i + 8 <= inputs; i += 8)
        for (std::size_t l = 0; l < 8; ++l) lanes[l] += w[i + l] * from[i + l];
      for (; i < inputs; ++i) lanes[0] += w[i] * from[i];
      float sum = bias[o];
      for (const float lane : lanes) sum += lane;
      to[o] = last ? sum : std::max(sum, 0.0F);
    }
    w = bias + outputs;
    std::swap(from, to);
  }
  std::copy_n(from.begin(), out.size(), out.begin());
}

}  // namespace leadline::policy
