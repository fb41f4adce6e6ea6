#include "policy/exit_features.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "monitoring/check.h"
#include "monitoring/fnv1a.h"

namespace leadline::policy {

void ExitFeatures::set(Feature f, float value) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  values_[static_cast<std::size_t>(f)] = std::isnan(value) ? 0.0F : std::clamp(value, -kLargest, kLargest);
}

std::uint64_t feature_schema_hash() {
  monitoring::Fnv1a hash;
  for (const std::string_view name : kFeatureNames) hash.add(name).add("\n");
  return hash.value();
}

namespace {

// The five largest in descending order. A value rarely beats the fifth, so this is one comparison per value.
std::array<float, kTopK> five_largest(std::span<const float> values) {
  std::array<float, kTopK> top;
  top.fill(-std::numeric_limits<float>::infinity());
  for (const float v : values) {
    if (!(v > top[kTopK - 1])) continue;
    int at = kTopK - 1;
    for (; at > 0 && v > top[static_cast<std::size_t>(at - 1)]; --at)
      top[static_cast<std::size_t>(at)] = top[static_cast<std::size_t>(at - 1)];
    top[static_cast<std::size_t>(at)] = v;
  }
  return top;
}

struct ExpSums {
  double mass = 0, weighted = 0;  // sum of e^x and of x e^x, x = value - shift
};

// Eight lanes in one fixed order, so that the compiler may use vectors and the bits stay the same.
ExpSums exp_sums(std::span<const float> values, float shift) {
  constexpr std::size_t kLanes = 8;
  std::array<float, kLanes> mass{}, weighted{};
  ExpSums sums;
  const auto flush = [&] {
    for (std::size_t i = 0; i < kLanes; ++i) {
      sums.mass += mass[i];
      sums.weighted += weighted[i];
      mass[i] = weighted[i] = 0;
    }
  };
  for (std::size_t begin = 0; begin < values.size(); begin += kLanes) {
    const std::size_t n = std::min(kLanes, values.size() - begin);
    for (std::size_t i = 0; i < n; ++i) {
      const float x = values[begin + i] - shift;
      if (!(x > -80.0F)) continue;  // e^-80 is nothing; -inf (a masked id) and NaN have no probability
      const float e = std::exp(x);
      mass[i] += e;
      weighted[i] += x * e;
    }
    if (begin % 4096 == 0) flush();
  }
  flush();
  return sums;
}

}  // namespace

ProbeReading reading_of(const ProbeSums& sums) {
  const std::array<float, kTopK>& top = sums.top;
  ProbeReading reading;
  if (!std::isfinite(top[0])) return reading;  // nothing can be drawn: no confidence at all
  const double log_mass = std::log(sums.mass);
  reading.entropy = static_cast<float>(std::max(0.0, log_mass - sums.weighted / sums.mass));
  reading.top1_probability = static_cast<float>(1.0 / sums.mass);
  const auto nll = [&](float logit) {
    return std::isfinite(logit) ? std::min(static_cast<float>(log_mass) - (logit - top[0]), kNllCap)
                                : kNllCap;
  };
  for (const float logit : top) reading.top5_nll += nll(logit) / static_cast<float>(kTopK);
  reading.margin = std::isfinite(top[1]) ? std::min(top[0] - top[1], kMarginCap) : kMarginCap;
  reading.drawn_nll = nll(sums.drawn);
  return reading;
}

ProbeReading read_probe(std::span<const float> logits, std::int32_t drawn) {
  LEADLINE_CHECK(drawn >= 0 && static_cast<std::size_t>(drawn) < logits.size(), "the drawn id is a logit");
  ProbeSums probe;
  probe.top = five_largest(logits);
  if (!std::isfinite(probe.top[0])) return {};
  const ExpSums sums = exp_sums(logits, probe.top[0]);
  probe.mass = sums.mass;
  probe.weighted = sums.weighted;
  probe.drawn = logits[static_cast<std::size_t>(drawn)];
  return reading_of(probe);
}

void set_probe(ExitFeatures& features, const ProbeReading& reading) {
  features.set(Feature::top5_nll, reading.top5_nll);
  features.set(Feature::entropy, reading.entropy);
  features.set(Feature::top1_probability, reading.top1_probability);
  features.set(Feature::margin, reading.margin);
  features.set(Feature::drawn_nll, reading.drawn_nll);
}

}  // namespace leadline::policy
