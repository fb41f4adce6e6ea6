#include "worker/runtime/sequence_sampler.h"

#include <algorithm>

namespace leadline::worker {

SamplingRow SequenceSampler::row_of(const Sequence& sequence, std::span<const std::int32_t> after) {
  banned_ = sequence.banned_ids;
  if (sequence.generated() + after.size() < sequence.min_tokens)
    banned_.insert(banned_.end(), sequence.stop_ids.begin(), sequence.stop_ids.end());
  const std::span<const std::int32_t> tokens(sequence.tokens);
  SamplingRow row;
  row.allowed_vocab = sequence.allowed_vocab;
  row.prompt = tokens.first(sequence.prompt_tokens);
  row.generated = tokens.subspan(sequence.prompt_tokens);
  if (!after.empty()) {
    history_.assign(row.generated.begin(), row.generated.end());
    history_.insert(history_.end(), after.begin(), after.end());
    row.generated = history_;
  }
  row.position = tokens.size() + after.size();
  row.banned = banned_;
  return row;
}

SampledRow SequenceSampler::sample(const Sequence& sequence, std::span<const std::int32_t> after,
                                   std::span<const float> logits, const SamplingParams& params) {
  SamplingRow row = row_of(sequence, after);
  row.logits = logits;
  return worker::sample(row, params, scratch_);
}

bool is_stop(const Sequence& sequence, std::int32_t token) {
  return std::binary_search(sequence.stop_ids.begin(), sequence.stop_ids.end(), token);
}

}  // namespace leadline::worker
