#pragma once
// RandomPolicy: an exit policy that takes any legal action: exits and lengths change from round to round and
// from sequence to sequence, rounds climb, stop, keep, or do not take place. No sensible policy, and not
// pure: it counts its calls. Thread: any.

#include <atomic>
#include <bit>
#include <memory>
#include <random>
#include <vector>

#include "policy/exit_policy.h"

namespace leadline::tests {

// Any legal action, drawn from what the point looks like: exits and lengths change from round to round and
// from sequence to sequence, rounds climb, stop, keep, or do not take place.
class RandomPolicy final : public policy::ExitPolicy {
 public:
  explicit RandomPolicy(std::uint64_t seed, bool probe) : seed_(seed), probe_(probe) {}
  policy::ActionDistribution decide(const policy::DecisionPoint& point) const override {
    std::uint64_t h = seed_ + 1469598103934665603ULL;
    for (const float value : point.features.values())
      h = (h ^ std::bit_cast<std::uint32_t>(value)) * 1099511628211ULL;
    h = (h ^ static_cast<std::uint64_t>(point.exit * 64 + point.drafted)) * 1099511628211ULL;
    std::mt19937_64 rng(h ^ calls_.fetch_add(1));
    std::vector<policy::Action> legal;
    for (int kind = 0; kind <= 5; ++kind)
      for (std::int16_t exit = 0; exit < point.layers; ++exit)
        for (std::int16_t draft = 0; draft <= point.max_draft; ++draft) {
          const policy::Action action{static_cast<policy::ActionKind>(kind), exit, draft};
          if (policy::is_legal(point, action)) legal.push_back(action);
        }
    if (legal.empty()) return policy::ActionDistribution::certain(policy::safe_action(point.kind));

    return policy::ActionDistribution::certain(legal[rng() % legal.size()]);
  }
  policy::PolicyNeeds needs() const override { return {.probe = probe_, .shadows = seed_ % 3 == 1}; }
  std::string_view name() const override { return "random"; }

 private:
  const std::uint64_t seed_;
  const bool probe_;
  mutable std::atomic<std::uint64_t> calls_{0};
};

}  // namespace leadline::tests
