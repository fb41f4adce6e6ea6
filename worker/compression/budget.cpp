#include "worker/compression/budget.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace leadline::worker {

std::uint32_t mean_budget(const CompressionParams& params, std::uint32_t slots) {
  if (slots == 0) return 0;
  const double wanted = params.tokens > 0 ? static_cast<double>(params.tokens)
                                          : std::floor(static_cast<double>(params.ratio) * slots + 1e-4);
  return static_cast<std::uint32_t>(std::clamp(wanted, 1.0, static_cast<double>(slots)));
}

std::uint32_t constant_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t /*layer*/,
                              std::uint32_t /*layers*/) {
  return mean_budget(params, slots);
}

std::uint32_t pyramid_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                             std::uint32_t layers) {
  constexpr double kBeta = 20;
  const std::uint32_t mean = mean_budget(params, slots);
  if (mean == slots || layers < 2) return mean;
  const std::uint32_t window = std::min(params.window, mean / 4);
  const double base = mean - window, most = slots - window;
  double high = 2 * base - base / kBeta, low = base / kBeta;
  if (high > most) {
    high = most;
    low = 2 * base - high;
  }
  const double share = high - (high - low) * layer / (layers - 1);
  return std::clamp(static_cast<std::uint32_t>(share) + window, 1U, slots);
}

std::uint32_t grouped_budget(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                             std::uint32_t layers) {
  const std::uint32_t mean = mean_budget(params, slots);
  if (mean == slots) return mean;
  const std::uint32_t per_group = (layers + 3) / 4, groups = (layers + per_group - 1) / per_group;
  if (groups < 2) return mean;
  const auto layers_in = [&](std::uint32_t g) { return std::min(per_group, layers - g * per_group); };
  const double last = mean * 8.0 / 14.0, first = 2.0 * mean - last;
  std::vector<double> share(groups);
  double sum = 0;
  for (std::uint32_t g = 0; g < groups; ++g) {
    share[g] = first + (last - first) * g / (groups - 1);
    sum += share[g] * layers_in(g);
  }
  const double total = static_cast<double>(mean) * layers;
  for (double& s : share) s *= total / sum;  // the last group may be smaller than the others
  // Clip at the prompt's length; what is over goes to the groups with room, in proportion to their layers.
  for (std::uint32_t round = 0; round < groups; ++round) {
    double over = 0, open = 0;
    for (std::uint32_t g = 0; g < groups; ++g) {
      if (share[g] > slots) {
        over += (share[g] - slots) * layers_in(g);
        share[g] = slots;
      } else if (share[g] < slots) {
        open += layers_in(g);
      }
    }
    if (over < 0.5 || open == 0) break;
    for (double& s : share)
      if (s < slots) s += over / open;
  }
  return std::clamp(static_cast<std::uint32_t>(share[layer / per_group] + 1e-6), 1U, slots);
}

}  // namespace leadline::worker
