#pragma once
// Off-policy evaluation: what a policy would have taken per token, from the logs of another that explored.
// Rounds are weighted by how likely the policy was to make the same decisions (self-normalised importance
// sampling, per round); the ratio of two weighted means has an interval from a bootstrap over sequences,
// whose rounds are not independent. What it leaves out: that another policy would also have met other states
// between rounds. Thread: pure.

#include <cstdint>
#include <memory>
#include <span>

#include "policy/exit_policy.h"
#include "policy/trajectory.h"

namespace leadline::policy {

struct OffPolicyEstimate {
  double us_per_token = 0, low = 0, high = 0;  // 95 %
  double effective_samples = 0;                // (sum w)^2 / sum w^2, in rounds
  double coverage = 0;  // least mean weight of a batch size; far below 1: what the policy does was not seen
  std::size_t rounds = 0, agreed = 0;  // rounds looked at; those of weight > 0
};

[[nodiscard]] OffPolicyEstimate estimate(std::span<const Trajectory> rounds, const ExitPolicy& policy,
                                         std::int32_t layers, std::span<const std::int32_t> exits,
                                         std::uint64_t seed = 1);

// A static setting as the explored logs can show it: a climb that leaves at once and drafts `drafts` times.
// Costs what the setting costs; with one draft a head more.
[[nodiscard]] std::unique_ptr<ExitPolicy> make_logged_static(std::int32_t exit, std::int32_t drafts);

struct BestStatic {
  std::int32_t exit = 0, drafts = 0;  // 0, 0: plain decoding
  OffPolicyEstimate estimate;
};
// Of plain decoding and all settings with enough effective samples.
[[nodiscard]] BestStatic best_static(std::span<const Trajectory> rounds, std::int32_t layers,
                                     std::span<const std::int32_t> exits, std::int32_t max_draft);

inline constexpr double kLeastEffectiveSamples = 200;
inline constexpr double kLeastCoverage = 0.8;

}  // namespace leadline::policy
