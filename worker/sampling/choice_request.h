#pragma once
// A row that the sampler would sample, as a device is asked for it, and the answer in the sampler's words:
// the masks, biases and penalties of a row become edits of single logits. Pure; not the choice itself
// (Backend::choose_tokens) and not another definition (sampler.h). Thread: any.

#include <vector>

#include "worker/backend/token_choice.h"
#include "worker/sampling/sampler.h"

namespace leadline::worker {

// Appends the row's edits; the logits of `row` are not looked at. False, and nothing appended: more edits or
// top logprobs than a device takes.
bool append_choice(const SamplingRow& row, const SamplingParams& params, std::int32_t logit_row,
                   std::vector<TokenChoiceRow>& rows, std::vector<LogitEdit>& edits);

SampledRow sampled_of(const TokenChoice& choice, bool logprobs);

}  // namespace leadline::worker
