#include "worker/runtime/speculation_metrics.h"

#include <algorithm>
#include <array>

namespace leadline::worker {
namespace {

constexpr std::array<std::string_view, 16> kNumbers = {"1", "2",  "3",  "4",  "5",  "6",  "7",  "8",
                                                       "9", "10", "11", "12", "13", "14", "15", "16"};
constexpr std::array<std::string_view, 7> kPolicies = {"off",  "static",  "threshold", "del",
                                                       "lede", "learned", "other"};
constexpr std::array<std::string_view, 4> kOutcomes = {"exported", "refused", "too_little", "failed"};
constexpr std::array<std::string_view, 2> kEffects = {"saved", "lost"};

}  // namespace

SpeculationMetrics SpeculationMetrics::create(monitoring::MetricsRegistry& r) {
  SpeculationMetrics m;
  m.rounds = r.counters<ModelSixteenth>("leadline_speculation_rounds_total",
                                        "Rounds verified, by exit in sixteenths of the model's layers.",
                                        "depth", kNumbers);
  m.drafted = r.counters<DraftPosition>("leadline_speculation_drafted_total",
                                        "Drafts verified, by position in their round.", "position", kNumbers);
  m.accepted =
      r.counters<DraftPosition>("leadline_speculation_accepted_total",
                                "Drafts that stood, by position in their round.", "position", kNumbers);
  m.policy = r.state<PolicyName>("leadline_speculation_policy", "1 for the exit policy in use, else 0.",
                                 "policy", kPolicies);
  m.policy.set(PolicyName::off);
  m.seconds = r.counters<SpeculationEffect>(
      "leadline_speculation_seconds_total",
      "Time that speculating steps saved or lost against plain ones, as the guard estimates.", "effect",
      kEffects);
  m.decisions = r.counter("leadline_speculation_decisions_total", "Decisions asked of the exit policy.");
  m.decision_seconds = r.counter("leadline_speculation_decision_seconds_total",
                                 "Time spent on these decisions, probes included.");
  m.training = r.gauges<TrainingOutcome>(
      "leadline_policy_training_timestamp_seconds",
      "Unix time when a training of the exit policy was last reported here, by outcome; 0: not yet.",
      "outcome", kOutcomes);
  return m;
}

std::optional<TrainingOutcome> training_outcome(std::string_view word) {
  const auto found = std::find(kOutcomes.begin(), kOutcomes.end(), word);
  if (found == kOutcomes.end()) return std::nullopt;
  return static_cast<TrainingOutcome>(found - kOutcomes.begin());
}

PolicyName policy_name(std::string_view name) {
  const auto found = std::find(kPolicies.begin(), kPolicies.end(), name);
  return found == kPolicies.end() ? PolicyName::other : static_cast<PolicyName>(found - kPolicies.begin());
}

ModelSixteenth sixteenth_of(std::int32_t exit, std::int32_t layers) {
  return static_cast<ModelSixteenth>((16 * exit + layers - 1) / layers - 1);
}

DraftPosition position_of(std::size_t draft) {
  return static_cast<DraftPosition>(std::min(draft, kNumbers.size() - 1));
}

}  // namespace leadline::worker
