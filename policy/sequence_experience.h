#pragma once
// SequenceExperience: what one sequence has shown so far about drafting: a value that policies read and that
// `observe` replaces. Not a policy's own memory (policies have none) and not a log. Kept by whoever runs the
// rounds, one per sequence; lost on preemption without harm. Thread: values, no sharing.
// Invariants: counts are decayed sums, finite and >= 0; the trailing ring holds the last kTrailingTokens.

#include <array>
#include <cstdint>
#include <span>

#include "policy/exit_features.h"

namespace leadline::policy {

inline constexpr int kMaxExits = 32;  // candidate exits of one model

// Of one candidate exit, decayed by kShadowDecay per round: DEL's counts (arXiv 2504.05598, omega = 0.95).
struct ExitRecord {
  float match = 0, miss = 0;                        // drafts or shadow tokens that equal the target's token
  float match_confidence = 0, miss_confidence = 0;  // sums of their top-1 probabilities
};

// One draft or shadow token of the round that ended: exit `exit_index` would have said or did say `matched`.
struct ExitObservation {
  std::int32_t exit_index = 0;
  bool matched = false;
  float confidence = 0;  // its top-1 probability
};

struct RoundOutcome {
  std::int32_t drafted = 0, accepted = 0;         // drafts verified, and those that stood; 0, 0: a plain step
  std::span<const float> target_top1;             // max P of the model at each committed token, in order
  float last_target_margin = 0;                   // margin there for the last one
  std::span<const ExitObservation> observations;  // of the exit used; of all exits where shadows were read
  float depth = 0;                                // of the exit used, as a share of the layers
};

struct SequenceExperience {
  std::array<float, kTrailingTokens> trailing_log_p{};  // ring of log max P, oldest overwritten
  std::int32_t trailing_count = 0;                      // tokens committed, ever
  float drafted = 0, accepted = 0, rounds = 0;          // decayed by kRecentDecay per round
  float last_target_margin = 0;
  float last_depth = 0, last_accepted = 0, last_fell = 0;  // of the last round that drafted
  std::array<ExitRecord, kMaxExits> exits{};

  // LEDE's C_trace over what there is; 0 before the first token.
  [[nodiscard]] float trailing() const;
  // Shares with a weak prior (1 draft of 2 stood), so that a new sequence is neither good nor bad.
  [[nodiscard]] float recent_acceptance() const;
  [[nodiscard]] float exit_match(std::size_t exit_index) const;
  [[nodiscard]] float recent_run() const;
};

inline constexpr float kRecentDecay = 0.9F, kShadowDecay = 0.95F;

[[nodiscard]] SequenceExperience observe(SequenceExperience before, const RoundOutcome& outcome);

// A round's start: the features that need no distribution; all others are 0, whatever `features` held.
// context: KV slots before the round; batch_rows: sequences that decode in this step.
struct RoundSetting {
  std::int32_t context = 1, batch_rows = 1;
  float temperature = 0;
};
void set_setting(ExitFeatures& features, const RoundSetting& setting, const SequenceExperience& experience);

// Where a round stands, beside what the distribution there says (set_probe).
struct RoundPlace {
  std::size_t exit_index = 0;
  std::int32_t exit = 0, layers = 1;
  std::int32_t drafted = 0;  // drafts that ran
  float chain = 1;           // product of their top-1 probabilities
};
void set_place(ExitFeatures& features, const RoundPlace& place, const SequenceExperience& experience);

}  // namespace leadline::policy
