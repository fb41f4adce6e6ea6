#include "worker/backend/token_choice.h"

#include <cmath>
#include <limits>
#include <utility>

namespace leadline::worker {

LogitFeatures features_of(const float* logits, std::int64_t count) {
  LogitFeatures f{};
  for (int k = 0; k < kFeatureTop; ++k)
    f.top[k] = -std::numeric_limits<float>::infinity(), f.ids[k] = std::numeric_limits<std::int32_t>::max();
  for (std::int64_t i = 0; i < count; ++i) {
    float v = logits[i];
    auto id = static_cast<std::int32_t>(i);
    for (int k = 0; k < kFeatureTop; ++k) {
      if (!(v > f.top[k] || (v == f.top[k] && id < f.ids[k]))) continue;
      std::swap(v, f.top[k]);
      std::swap(id, f.ids[k]);
    }
  }
  const double top = f.top[0];
  double sum = 0, weighted = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float x = logits[i];
    if (!(x > -std::numeric_limits<float>::infinity())) continue;
    const double p = std::exp(static_cast<double>(x) - top);
    sum += p;
    weighted += p * (static_cast<double>(x) - top);
  }
  f.log_sum = static_cast<float>(top + std::log(sum));
  f.entropy = static_cast<float>(std::log(sum) - weighted / sum);
  return f;
}

}  // namespace leadline::worker
