#include "worker/compression/scorer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

namespace leadline::worker {

namespace {

// Four floats that every x86-64 and ARMv8 core adds at once.
typedef float Quad __attribute__((vector_size(16)));

Quad load(const float* at) {
  Quad q;
  std::memcpy(&q, at, sizeof q);
  return q;
}

}  // namespace

// Lane l of 16 adds the products at l, l + 16, ...; then lanes are added in halves. Written out as the
// compiler otherwise gathers float by float; the order of sums, and so every bit, is that of the plain loop.
float dot(const float* a, const float* b, std::uint32_t n) {
  Quad q0{}, q1{}, q2{}, q3{};
  for (const float* const end = a + n / 16 * 16; a != end; a += 16, b += 16) {
    q0 += load(a) * load(b);
    q1 += load(a + 4) * load(b + 4);
    q2 += load(a + 8) * load(b + 8);
    q3 += load(a + 12) * load(b + 12);
  }
  if (n % 16 != 0) {
    std::array<float, 16> x{}, y{};
    std::copy_n(a, n % 16, x.begin());
    std::copy_n(b, n % 16, y.begin());
    q0 += load(x.data()) * load(y.data());
    q1 += load(x.data() + 4) * load(y.data() + 4);
    q2 += load(x.data() + 8) * load(y.data() + 8);
    q3 += load(x.data() + 12) * load(y.data() + 12);
  }
  q0 += q2;
  q1 += q3;
  q0 += q1;
  return (q0[0] + q0[2]) + (q0[1] + q0[3]);
}

namespace {
std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
}  // namespace

void score_random(const HeadInput& head, const CompressionParams& /*params*/, std::span<float> scores) {
  const std::uint64_t base = mix(head.seed) ^ mix((std::uint64_t{head.layer} << 32) | head.head);
  for (std::uint32_t i = 0; i < head.slots; ++i)
    scores[i] = static_cast<float>(mix(base + i) >> 40) * 0x1p-24F;
}

void score_columns(const HeadInput& head, const CompressionParams& /*params*/, std::span<float> scores) {
  std::copy(head.columns.begin(), head.columns.end(), scores.begin());
}

void score_window_pooled(const HeadInput& head, const CompressionParams& /*params*/,
                         std::span<float> scores) {
  constexpr std::int64_t kSide = 2;
  const auto slots = static_cast<std::int64_t>(head.slots);
  for (std::int64_t i = 0; i < slots; ++i) {
    float sum = 0;  // average pooling, same padding: zeros beyond the ends
    for (std::int64_t j = std::max<std::int64_t>(0, i - kSide); j <= std::min(slots - 1, i + kSide); ++j)
      sum += head.window[static_cast<std::size_t>(j)];
    scores[static_cast<std::size_t>(i)] = sum / (2 * kSide + 1);
  }
}

void score_review_windows(const HeadInput& head, const CompressionParams& params, std::span<float> scores) {
  std::array<float, kReviewWindow> best{};
  for (std::uint32_t first = 0; first < head.slots; first += kReviewWindow) {
    const std::uint32_t count = std::min(kReviewWindow, head.slots - first);
    std::copy_n(head.window.begin() + first, count, best.begin());
    std::uint32_t used = count;
    if (params.task == 0) {
      std::sort(best.begin(), best.begin() + count, std::greater<>());
      used = (count + 1) / 2;
    }
    float sum = 0;
    for (std::uint32_t i = 0; i < used; ++i) sum += best[i];
    std::fill_n(scores.begin() + first, count, sum / static_cast<float>(used));
  }
}

void score_key_difference(const HeadInput& head, const CompressionParams& /*params*/,
                          std::span<float> scores) {
  const std::uint32_t dim = head.head_dim;
  std::vector<float> anchor(dim), inverse(head.slots);
  for (std::uint32_t i = 0; i < head.slots; ++i) {
    const float* key = head.keys.data() + std::size_t{i} * dim;
    const float norm = std::sqrt(dot(key, key, dim));
    inverse[i] = norm > 0 ? 1 / norm : 0;
    for (std::uint32_t d = 0; d < dim; ++d) anchor[d] += key[d] * inverse[i];
  }
  const float length = std::sqrt(dot(anchor.data(), anchor.data(), dim));
  const float scale = length > 0 ? 1 / length : 0;
  for (std::uint32_t i = 0; i < head.slots; ++i)
    scores[i] = -dot(anchor.data(), head.keys.data() + std::size_t{i} * dim, dim) * inverse[i] * scale;
}

}  // namespace leadline::worker
