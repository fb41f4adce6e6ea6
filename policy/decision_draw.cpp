#include "policy/decision_draw.h"

#include <algorithm>

namespace leadline::policy {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

double decision_uniform(std::uint64_t sequence, std::uint64_t round, std::uint32_t decision) {
  const std::uint64_t word = mix(mix(mix(sequence) + round) + decision);
  return static_cast<double>(word >> 11) * 0x1.0p-53;
}

ActionDistribution explore(const DecisionPoint& point, const ActionDistribution& wanted, float epsilon) {
  const float share = std::clamp(epsilon, 0.0F, 1.0F);
  ActionDistribution tried;
  switch (point.kind) {
    case DecisionKind::round_start: {
      tried.add({ActionKind::plain}, 1);
      const auto longest = static_cast<std::int16_t>(std::min(point.max_draft, kMaxDraft));
      if (longest < 1) break;
      for (const std::int32_t exit : point.exits)
        tried.add({ActionKind::climb, static_cast<std::int16_t>(exit), longest}, 1);
      break;
    }
    case DecisionKind::at_layer:
      tried.add({ActionKind::plain}, 1);
      for (const std::int32_t exit : point.exits) {
        if (exit < point.exit) continue;
        tried.add(
            {exit == point.exit ? ActionKind::draft : ActionKind::climb, static_cast<std::int16_t>(exit)}, 1);
      }
      break;
    case DecisionKind::after_draft:
      tried.add({ActionKind::go_on}, 1);
      tried.add({ActionKind::stop}, 1);
      tried.add({ActionKind::keep_and_stop}, 1);
      break;
  }
  ActionDistribution mixed;
  mixed.add(wanted.mode(), 1.0F - share);
  for (const auto& entry : tried.entries())
    mixed.add(entry.action, share / static_cast<float>(tried.entries().size()));
  return mixed;
}

}  // namespace leadline::policy
