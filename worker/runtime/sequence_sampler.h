#pragma once
// SequenceSampler: the next token of a sequence from one row of logits: puts the sequence's history, bans and
// position into the sampler's row. The one place that does, for plain steps, drafts and verified rows alike,
// so that a row of a round is sampled exactly as plain decoding would (exactness X3). Not the sampler
// (sampling/). Thread: the step thread of rank 0; owns scratch.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/sampling/sampler.h"
#include "worker/serving/sequence_table.h"

namespace leadline::worker {

class SequenceSampler {
 public:
  // The row of the token that follows the sequence's tokens and then `after`, without logits; what it points
  // to is this object's, until the next call.
  SamplingRow row_of(const Sequence& sequence, std::span<const std::int32_t> after);
  // The token that follows the sequence's tokens and then `after` (drafts, or tokens won in this round but
  // not yet delivered). `params` are the sequence's own, or those without what nobody reads.
  SampledRow sample(const Sequence& sequence, std::span<const std::int32_t> after,
                    std::span<const float> logits, const SamplingParams& params);

 private:
  SamplerScratch scratch_;
  std::vector<std::int32_t> banned_, history_;
};

// It ends the sequence when it is sampled.
[[nodiscard]] bool is_stop(const Sequence& sequence, std::int32_t token);

}  // namespace leadline::worker
