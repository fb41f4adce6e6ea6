#pragma once
// Tokens and features from rows of logits, as values that a device takes and gives back in one small copy
// each: what Backend::choose_tokens and Backend::features speak. Not the definitions
// (worker/sampling/sampler.h has them) and not history: prompts, penalties and bans arrive as edits of single
// logits. Thread: values. Invariant: 4- and 8-byte fields only, no padding: they travel as they are.

#include <cstdint>

namespace leadline::worker {

// One change of one logit. A row's edits are sorted by id; those of one id act in their order.
struct LogitEdit {
  enum Kind : std::int32_t {
    ban = 0,
    add = 1,       // value
    penalise = 2,  // the row's penalties; `count` in what was generated, repetition in any case
  };
  std::int32_t id = 0;
  std::int32_t kind = ban;
  float value = 0;
  std::int32_t count = 0;
};

constexpr std::int32_t kMaxChoiceTop = 20;      // top_logprobs that a device lists
constexpr std::int32_t kMaxChoiceEdits = 8192;  // of one row; rows with more are sampled on the host

constexpr int kProbeTop = 5;

struct TokenChoiceRow {
  std::int32_t logit_row = 0;      // of the logits given
  std::int32_t allowed_vocab = 0;  // ids at or above have no probability
  std::int32_t edits = 0;          // how many, taken from the call's edits in the rows' order
  std::int32_t top_k = 0;          // <= 0: off
  float temperature = 1;           // <= 0: greedy
  float top_p = 1;                 // >= 1: off
  float min_p_edge = 0;            // log of min_p, rounded as the sampler does; > 0: off
  float repetition = 1, frequency = 0, presence = 0;
  std::int32_t top_logprobs = -1;  // -1: no logprob either; at most kMaxChoiceTop
  std::int32_t first_edit = 0;     // filled in by the backend
  std::int32_t probe = 0;          // 1: the distribution's numbers, too
  std::int32_t reserved = 0;
  std::uint64_t seed = 0, position = 0;
};

struct TokenChoice {
  std::int32_t token = 0;
  std::int32_t no_candidate = 0;  // 1: every id was masked
  float logprob = 0;
  std::int32_t tops = 0;  // how many of the arrays' entries are there
  std::int32_t top_ids[kMaxChoiceTop] = {};
  float top_logprobs[kMaxChoiceTop] = {};
  // With `probe`, of the allowed logits before edits, x = logit - probe_top[0]:
  float probe_top[kProbeTop] = {};  // the largest, descending; -inf: fewer
  float drawn = 0;                  // the token's own logit
  double mass = 0, weighted = 0;    // sum of e^x and of x e^x
};

// Features of a row of logits, for exit policies: descending logits, ties by smaller id.
constexpr int kFeatureTop = 4;
struct LogitFeatures {
  float log_sum;  // log of the sum of exp over the vocabulary
  float entropy;  // nats
  float top[kFeatureTop];
  std::int32_t ids[kFeatureTop];
};

// On the host, sums in f64; NaN and -inf have no probability. (A pointer: device code includes this, in
// C++17.)
LogitFeatures features_of(const float* logits, std::int64_t count);

}  // namespace leadline::worker
