#include "worker/sampling/logit_select.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

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

// A value that at least k elements reach: the k-th largest of the maxima of blocks (-inf when there are fewer
// blocks).
float lower_bound_of_kth(std::span<const float> values, std::size_t k) {
  const std::size_t blocks = values.size() / kMaximaBlock;
  if (k > blocks) return kAbsent;
  std::vector<float> maxima(blocks);
  for (std::size_t b = 0; b < blocks; ++b) maxima[b] = max_of(values.data() + b * kMaximaBlock, kMaximaBlock);
  std::nth_element(maxima.begin(), maxima.begin() + static_cast<std::ptrdiff_t>(k - 1), maxima.end(),
                   std::greater<>());
  return maxima[k - 1];
}

}  // namespace

std::int32_t arg_max(std::span<const float> values) {
  if (values.empty()) return -1;
  const float best = max_of(values.data(), values.size());
  if (best == kAbsent) return -1;
  return static_cast<std::int32_t>(std::find(values.begin(), values.end(), best) - values.begin());
}

double sum_exp(std::span<const float> values, float max) {
  std::array<double, kLanes> sum{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) sum[j] += exp_nonpositive(values[i + j] - max);
  for (std::size_t j = 0; i + j < values.size(); ++j) sum[j] += exp_nonpositive(values[i + j] - max);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2)
    for (std::size_t j = 0; j < width; ++j) sum[j] += sum[j + width];
  return sum[0];
}

void select_top_k(std::span<const float> values, std::int32_t k, std::vector<std::int32_t>& out) {
  out.clear();
  if (k <= 0) return;
  const auto wanted = std::min(static_cast<std::size_t>(k), values.size());
  const float bound = lower_bound_of_kth(values, wanted);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] >= bound && values[i] != kAbsent) out.push_back(static_cast<std::int32_t>(i));
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
  if (scratch.size() < static_cast<std::size_t>(k)) return;  // fewer than k are present: all stay
  const std::int32_t last = scratch.back();
  const float edge = values[static_cast<std::size_t>(last)];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool stays = values[i] > edge || (values[i] == edge && static_cast<std::int32_t>(i) <= last);
    values[i] = stays ? values[i] : kAbsent;
  }
}

void keep_top_p(std::span<float> values, float p, std::vector<float>& weights,
                std::vector<std::int32_t>& scratch) {
  // Mass by bucket of distance from the maximum; only the bucket in which p is crossed has to be sorted.
  constexpr std::size_t kBuckets = 1024;
  constexpr float kBucketsPerUnit = 32.0F;  // the last bucket takes all below exp(-32)
  const auto bucket_of = [](float v) {
    const float b = -v * kBucketsPerUnit;
    return b < static_cast<float>(kBuckets - 1) ? static_cast<std::size_t>(b) : kBuckets - 1;
  };
  weights.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) weights[i] = exp_nonpositive(values[i]);
  std::array<double, kBuckets> mass{};
  for (std::size_t i = 0; i < values.size(); ++i)
    if (weights[i] > 0) mass[bucket_of(values[i])] += weights[i];
  double total = 0;
  for (const double m : mass) total += m;
  const double target = static_cast<double>(p) * total;
  std::size_t edge = 0;
  double before_edge = 0;
  while (edge + 1 < kBuckets && before_edge + mass[edge] < target) before_edge += mass[edge++];

  scratch.clear();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] != kAbsent && bucket_of(values[i]) == edge) scratch.push_back(static_cast<std::int32_t>(i));
  std::sort(scratch.begin(), scratch.end(), Before{values});
  // The first of all stays whatever p is; it is the first of bucket 0.
  std::size_t kept = edge == 0 ? 1 : 0;
  double sum = before_edge + (kept != 0 ? weights[static_cast<std::size_t>(scratch[0])] : 0.0);
  while (kept < scratch.size() && sum < target) sum += weights[static_cast<std::size_t>(scratch[kept++])];
  const std::int32_t last = kept > 0 ? scratch[kept - 1] : -1;
  const float edge_value = kept > 0 ? values[static_cast<std::size_t>(last)] : 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == kAbsent) continue;
    const std::size_t b = bucket_of(values[i]);
    const bool in_edge =
        kept > 0 && b == edge &&
        (values[i] > edge_value || (values[i] == edge_value && static_cast<std::int32_t>(i) <= last));
    if (b > edge || (b == edge && !in_edge)) values[i] = kAbsent;
  }
}

}  // namespace leadline::worker
