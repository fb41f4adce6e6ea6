#include "policy/sequence_experience.h"

#include <algorithm>
#include <cmath>

namespace leadline::policy {

float SequenceExperience::trailing() const {
  const std::int32_t n = std::min(trailing_count, kTrailingTokens);
  float sum = 0;
  for (std::int32_t i = 0; i < n; ++i) sum += trailing_log_p[static_cast<std::size_t>(i)];
  return n == 0 ? 0.0F : -sum / static_cast<float>(n);
}

float SequenceExperience::recent_acceptance() const {
  return (accepted + 1.0F) / (drafted + 2.0F);
}

float SequenceExperience::exit_match(std::size_t exit_index) const {
  const ExitRecord& record = exits[std::min<std::size_t>(exit_index, kMaxExits - 1)];
  return (record.match + 1.0F) / (record.match + record.miss + 2.0F);
}

float SequenceExperience::recent_run() const {
  return (accepted + 1.0F) / (rounds + 1.0F);
}

SequenceExperience observe(SequenceExperience e, const RoundOutcome& outcome) {
  for (const float p : outcome.target_top1) {
    const float bounded = std::clamp(std::isnan(p) ? 1.0F : p, 1e-6F, 1.0F);
    e.trailing_log_p[static_cast<std::size_t>(e.trailing_count % kTrailingTokens)] = std::log(bounded);
    e.trailing_count = e.trailing_count == 1 << 30 ? kTrailingTokens : e.trailing_count + 1;
  }
  e.last_target_margin = outcome.last_target_margin;
  if (outcome.drafted > 0) {
    e.drafted = kRecentDecay * e.drafted + static_cast<float>(outcome.drafted);
    e.accepted =
        kRecentDecay * e.accepted + static_cast<float>(std::clamp(outcome.accepted, 0, outcome.drafted));
    e.rounds = kRecentDecay * e.rounds + 1.0F;
    e.last_depth = outcome.depth;
    e.last_accepted = static_cast<float>(outcome.accepted);
    e.last_fell = outcome.accepted < outcome.drafted ? 1.0F : 0.0F;
  }
  if (outcome.observations.empty()) return e;
  for (ExitRecord& record : e.exits) {
    record.match *= kShadowDecay;
    record.miss *= kShadowDecay;
    record.match_confidence *= kShadowDecay;
    record.miss_confidence *= kShadowDecay;
  }
  for (const ExitObservation& seen : outcome.observations) {
    if (seen.exit_index < 0 || seen.exit_index >= kMaxExits) continue;
    ExitRecord& record = e.exits[static_cast<std::size_t>(seen.exit_index)];
    const float confidence = std::clamp(std::isnan(seen.confidence) ? 0.0F : seen.confidence, 0.0F, 1.0F);
    (seen.matched ? record.match : record.miss) += 1;
    (seen.matched ? record.match_confidence : record.miss_confidence) += confidence;
  }
  return e;
}

void set_setting(ExitFeatures& features, const RoundSetting& setting, const SequenceExperience& experience) {
  const auto log2_of = [](std::int32_t n) { return std::log2(static_cast<float>(std::max(n, 1))); };
  features = {};
  features.set(Feature::trailing, experience.trailing());
  features.set(Feature::log2_batch_rows, log2_of(setting.batch_rows));
  features.set(Feature::log2_context, log2_of(setting.context));
  features.set(Feature::recent_acceptance, experience.recent_acceptance());
  features.set(Feature::recent_run, std::min(experience.recent_run(), 16.0F) / kRunScale);
  features.set(Feature::chain_probability, 1.0F);
  features.set(Feature::last_target_margin, experience.last_target_margin);
  features.set(Feature::temperature, std::clamp(setting.temperature, 0.0F, 2.0F));
  features.set(Feature::exit_match, experience.exit_match(0));
  features.set(Feature::last_depth, experience.last_depth);
  features.set(Feature::last_accepted, std::min(experience.last_accepted, 16.0F) / kRunScale);
  features.set(Feature::last_fell, experience.last_fell);
}

void set_place(ExitFeatures& features, const RoundPlace& place, const SequenceExperience& experience) {
  features.set(Feature::depth, static_cast<float>(place.exit) / static_cast<float>(place.layers));
  features.set(Feature::drafted_so_far, static_cast<float>(place.drafted) / kRunScale);
  features.set(Feature::chain_probability, place.chain);
  features.set(Feature::exit_match, experience.exit_match(place.exit_index));
}

}  // namespace leadline::policy
