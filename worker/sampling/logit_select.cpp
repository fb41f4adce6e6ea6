#include "worker/sampling/logit_select.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();
constexpr std::size_t kLanes = 16;  // fixed, so that sums do not depend on the instruction set
constexpr std::size_t kMaximaBlock = 32;

// exp for x <= 0 by 2^n * polynomial, plain arithmetic so that the compiler vectorises it and every host gets
// the same bits; relative error below 2e-7, 0 below -87.
inline float exp_nonpositive(float x) {
  const float clamped = x < -87.0F ? -87.0F : x;
  const float scaled = clamped * 1.44269504F;
  const auto n = static_cast<std::int32_t>(scaled - 0.5F);  // round to nearest for x <= 0
  const auto nf = static_cast<float>(n);
  const float r = (clamped - nf * 0.693359375F) + nf * 2.12194440e-4F;  // ln 2 in two parts
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = (p * r * r + r) + 1.0F;
  const auto bits = static_cast<std::uint32_t>(n + 127) << 23;
  return x < -87.0F ? 0.0F : e * __builtin_bit_cast(float, bits);
}

constexpr std::size_t kChunk = 256;  // of values whose exponentials are made together

// out[i] = exp(v[i] - max) for n <= kChunk values.
void exp_chunk(const float* v, std::size_t n, float max, float* __restrict out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = exp_nonpositive(v[i] - max);
}

struct Before {  // the one order
  std::span<const float> values;
  bool operator()(std::int32_t a, std::int32_t b) const {
    const float x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  }
};

float max_of(const float* v, std::size_t n) {
  std::array<float, kLanes> m;
  m.fill(kAbsent);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) m[j] = v[i + j] > m[j] ? v[i + j] : m[j];
  float best = *std::max_element(m.begin(), m.end());
  for (; i < n; ++i) best = std::max(best, v[i]);
  return best;
}

// Keeps v[i] where it is before or at index `last` in the order; all else becomes absent.
void cut_after(std::span<float> values, std::int32_t last) {
  const float edge = values[static_cast<std::size_t>(last)];
  const auto split = static_cast<std::size_t>(last) + 1;  // equal values stay up to here
  for (std::size_t i = 0; i < split; ++i) values[i] = values[i] >= edge ? values[i] : kAbsent;
  for (std::size_t i = split; i < values.size(); ++i) values[i] = values[i] > edge ? values[i] : kAbsent;
}

}  // namespace

float max_value(std::span<const float> values) {
  return max_of(values.data(), values.size());
}

std::int32_t arg_max(std::span<const float> values) {
  if (values.empty()) return -1;
  const float best = max_of(values.data(), values.size());
  if (best == kAbsent) return -1;
  return static_cast<std::int32_t>(std::find(values.begin(), values.end(), best) - values.begin());
}

double sum_exp(std::span<const float> values, float max) {
  std::array<double, kLanes> sum{};
  std::array<float, kChunk> e;
  for (std::size_t at = 0; at < values.size(); at += kChunk) {
    const std::size_t n = std::min(kChunk, values.size() - at);
    exp_chunk(values.data() + at, n, max, e.data());
    std::fill(e.begin() + static_cast<std::ptrdiff_t>(n), e.end(), 0.0F);
    for (std::size_t i = 0; i < kChunk; i += kLanes)
      for (std::size_t j = 0; j < kLanes; ++j) sum[j] += e[i + j];
  }
  for (std::size_t width = kLanes / 2; width > 0; width /= 2)
    for (std::size_t j = 0; j < width; ++j) sum[j] += sum[j + width];
  return sum[0];
}

void select_top_k(std::span<const float> values, std::int32_t k, std::vector<std::int32_t>& out) {
  out.clear();
  if (k <= 0 || values.empty()) return;
  const auto wanted = std::min(static_cast<std::size_t>(k), values.size());
  // At least k values reach the k-th largest of the blocks' maxima, so a block below it has none of the k.
  const std::size_t blocks = (values.size() + kMaximaBlock - 1) / kMaximaBlock;
  std::vector<float> maxima(blocks);
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t at = b * kMaximaBlock;
    maxima[b] = max_of(values.data() + at, std::min(kMaximaBlock, values.size() - at));
  }
  float bound = kAbsent;
  if (wanted <= blocks) {
    std::vector<float> sorted = maxima;
    const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(wanted - 1);
    std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
    bound = *kth;
  }
  for (std::size_t b = 0; b < blocks; ++b) {
    if (maxima[b] < bound) continue;
    for (std::size_t i = b * kMaximaBlock; i < std::min((b + 1) * kMaximaBlock, values.size()); ++i)
      if (values[i] >= bound && values[i] != kAbsent) out.push_back(static_cast<std::int32_t>(i));
  }
  const Before before{values};
  if (out.size() > wanted) {
    std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(wanted), out.end(), before);
    out.resize(wanted);
  }
  std::sort(out.begin(), out.end(), before);
}

void keep_top_k(std::span<float> values, std::int32_t k, std::vector<std::int32_t>& scratch) {
  if (k <= 0 || static_cast<std::size_t>(k) >= values.size()) return;
  select_top_k(values, k, scratch);
  if (scratch.size() == static_cast<std::size_t>(k))
    cut_after(values, scratch.back());  // else fewer than k are present
}

void keep_top_p(std::span<float> values, float p, std::vector<float>& weights,
                std::vector<std::int32_t>& scratch) {
  // Mass by bucket of distance from the maximum; only the bucket in which p is crossed has to be sorted.
  // Bucket b has the values in (-(b + 1) / 32, -b / 32]: multiplying by a power of two is exact, so bucket
  // and bounds agree.
  constexpr std::size_t kBuckets = 1024;
  constexpr float kBucketsPerUnit = 32.0F;  // the last bucket takes all below exp(-32)
  weights.resize(values.size());
  for (std::size_t at = 0; at < values.size(); at += kChunk)
    exp_chunk(values.data() + at, std::min(kChunk, values.size() - at), 0.0F, weights.data() + at);
  std::array<double, kBuckets> mass{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float distance = std::min(-values[i] * kBucketsPerUnit, static_cast<float>(kBuckets - 1));
    mass[static_cast<std::size_t>(static_cast<std::int32_t>(distance))] +=
        weights[i];  // absent ones weigh nothing
  }
  double total = 0;
  for (const double m : mass) total += m;
  const double target = static_cast<double>(p) * total;
  std::size_t edge = 0;
  double sum = 0;
  while (edge + 1 < kBuckets && sum + mass[edge] < target) sum += mass[edge++];

  const float high = -static_cast<float>(edge) / kBucketsPerUnit;
  const float low = edge + 1 < kBuckets ? -static_cast<float>(edge + 1) / kBucketsPerUnit : kAbsent;
  scratch.clear();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] <= high && values[i] > low) scratch.push_back(static_cast<std::int32_t>(i));
  LEADLINE_CHECK(!scratch.empty(), "no value where the mass is");
  std::sort(scratch.begin(), scratch.end(), Before{values});
  std::size_t kept = 0;
  do sum += weights[static_cast<std::size_t>(scratch[kept++])];
  while (kept < scratch.size() && sum < target);
  cut_after(values, scratch[kept - 1]);
}

}  // namespace leadline::worker
