#pragma once
// ExitFeatures: what an exit policy sees at a decision: names, order and schema hash of a vector of floats.
// The one contract between the engine that fills it, the log, the trainer and the policy file; anything that
// changes name, order or meaning changes kFeatureNames and so the hash. Not a decision and not the engine's
// tensors: logits come in as floats. Thread: any; pure.
// Invariants: every feature is finite; what a decision has no value for (a round's start has no distribution)
// is 0.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace leadline::policy {

enum class Feature : std::uint8_t {
  top5_nll,           // LEDE C_l = -(1/5) sum over the five likeliest of log P; large where P is sharp
  entropy,            // LEDE H_l = -sum P log P, nats
  trailing,           // LEDE C_trace = -(1/T) sum of log max P over the last T = 20 committed tokens
  top1_probability,   // max P
  margin,             // log P of the likeliest - log P of the second, at most kMarginCap
  drawn_nll,          // -log P of the token that was drawn here, at most kNllCap
  depth,              // layer / layers of the model
  log2_batch_rows,    // log2 of the sequences that decode in this step
  log2_context,       // log2 of the KV slots before the round
  recent_acceptance,  // decayed share of drafts that stood, see SequenceExperience
  recent_run,         // decayed drafts that stood per round / kRunScale
  drafted_so_far,     // drafts of this round before this decision / kRunScale
  chain_probability,  // product of top-1 probabilities of this round's drafts before this one; 1 at its first
  last_target_margin,  // margin of the model's own distribution at the last committed token
  temperature,         // of the request, at most 2; 0 = greedy
  exit_match,     // decayed share of drafts that stood at this exit; at a round's start at the shallowest
  last_depth,     // depth of the last round that drafted; 0: none yet
  last_accepted,  // drafts that stood in it / kRunScale
  last_fell,      // 1: a draft of it fell
};

inline constexpr std::array<std::string_view, 19> kFeatureNames = {
    "top5_nll/k5",       "entropy/nats",
    "trailing/T20",      "top1_probability",
    "margin/cap20",      "drawn_nll/cap20",
    "depth/layers",      "log2_batch_rows",
    "log2_context",      "recent_acceptance/w0.9",
    "recent_run/w0.9/8", "drafted_so_far/8",
    "chain_probability", "last_target_margin/cap20",
    "temperature/cap2",  "exit_match/w0.95",
    "last_depth/layers", "last_accepted/8",
    "last_fell",
};
inline constexpr std::size_t kFeatureCount = kFeatureNames.size();
inline constexpr float kMarginCap = 20, kNllCap = 20, kRunScale = 8;
inline constexpr int kTrailingTokens = 20;  // LEDE section "state", T
inline constexpr int kTopK = 5;             // LEDE, k

class ExitFeatures {
 public:
  [[nodiscard]] float operator[](Feature f) const { return values_[static_cast<std::size_t>(f)]; }
  void set(Feature f, float value);  // NaN becomes 0, infinities the largest float
  [[nodiscard]] std::span<const float, kFeatureCount> values() const { return values_; }
  friend bool operator==(const ExitFeatures&, const ExitFeatures&) = default;

 private:
  std::array<float, kFeatureCount> values_{};
};

// FNV-1a 64 of the names in order: equal hashes mean the same features in the same order.
[[nodiscard]] std::uint64_t feature_schema_hash();

// What the distribution of one row says, P = softmax of the logits.
struct ProbeReading {
  float top5_nll = 0, entropy = 0, top1_probability = 0, margin = 0, drawn_nll = 0;
};
// `logits`: the allowed ids only (X10); `drawn` an index into it. One pass for the maximum and the five
// largest, one for the sums; in that order, so a function of the values alone. REQUIRES: logits not empty,
// 0 <= drawn < size.
[[nodiscard]] ProbeReading read_probe(std::span<const float> logits, std::int32_t drawn);
// The same from numbers that a device made: the five largest logits, the sums of e^x and x e^x over x = logit
// - the largest, and the drawn id's logit.
struct ProbeSums {
  std::array<float, kTopK> top{};
  double mass = 0, weighted = 0;
  float drawn = 0;
};
[[nodiscard]] ProbeReading reading_of(const ProbeSums& sums);
void set_probe(ExitFeatures& features, const ProbeReading& reading);

}  // namespace leadline::policy
