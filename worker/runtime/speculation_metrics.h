#pragma once
// SpeculationMetrics: the series of speculation, made once with the worker's and passed in. Not computed
// here: RoundDirector fills the handles. Thread: handles from any thread.

#include <cstdint>
#include <optional>
#include <string_view>

#include "monitoring/metrics.h"

namespace leadline::worker {

enum class SpeculationEffect { saved, lost };
enum class TrainingOutcome { exported, refused, too_little, failed };
enum class PolicyName { off, fixed, threshold, del, lede, learned, other };  // "static" is no C++ name
enum class ModelSixteenth : std::uint8_t {};  // 0: up to 1/16 of the layers, ... 15
enum class DraftPosition : std::uint8_t {};   // 0: the first draft of a round, ... 15

struct SpeculationMetrics {
  monitoring::HandleSet<ModelSixteenth, monitoring::Counter> rounds;  // by exit
  monitoring::HandleSet<DraftPosition, monitoring::Counter> drafted, accepted;
  monitoring::StateGauge<PolicyName> policy;
  monitoring::HandleSet<SpeculationEffect, monitoring::Counter> seconds;  // the guard's estimate
  monitoring::Counter decisions, decision_seconds;
  monitoring::HandleSet<TrainingOutcome, monitoring::Gauge> training;  // Unix time of the last report

  static SpeculationMetrics create(monitoring::MetricsRegistry& registry);
};

std::optional<TrainingOutcome> training_outcome(std::string_view word);
PolicyName policy_name(std::string_view name);
ModelSixteenth sixteenth_of(std::int32_t exit, std::int32_t layers);  // 1 <= exit <= layers
DraftPosition position_of(std::size_t draft);                         // from 0; beyond the last: the last

}  // namespace leadline::worker
