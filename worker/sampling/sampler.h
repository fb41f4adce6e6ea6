#pragma once
// Sampler: logits of one row -> one token, a pure function. Not random: the noise is a function of (seed, position, token id)
// (exactness X3), so batch, ranks, restarts and speculation do not change an answer.
// Order: bias and penalties on raw logits -> log-softmax (reported logprobs) -> temperature -> top-k -> top-p -> min-p
// -> argmax of log p + Gumbel noise. Greedy (temperature 0) is argmax without noise; ties go to the smaller id.
// Thread: any; no state but scratch passed in.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace leadline::worker {

struct SamplingParams {
  float temperature = 1.0F;
  std::int32_t top_k = 0;
  float top_p = 1.0F;
  float min_p = 0.0F;
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::uint64_t seed = 0;
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // (token id, added to its logit)
  std::int32_t top_logprobs = -1;                          // -1 none
};

struct SamplingRow {
  std::span<const float> logits;            // (vocab); ids >= allowed_vocab are never sampled
  std::int32_t allowed_vocab = 0;           // ids that the tokenizer has: [0, allowed_vocab)
  std::span<const std::int32_t> prompt;     // for the repetition penalty
  std::span<const std::int32_t> generated;  // for all three penalties
  std::uint64_t position = 0;               // logical position of the token being chosen
  std::span<const std::int32_t> banned;     // e.g. stop ids while fewer than min_tokens were made
};

struct SampledRow {
  std::int32_t token = 0;
  float logprob = 0;                                         // valid if top_logprobs >= 0
  std::vector<std::pair<std::int32_t, float>> top_logprobs;  // descending, ties by smaller id
};

struct SamplerScratch {
  std::vector<float> logits;
  std::vector<std::int32_t> order;
  std::vector<std::uint32_t> counts;
};

SampledRow sample(const SamplingRow& row, const SamplingParams& params, SamplerScratch& scratch);

// Standard Gumbel noise of one (seed, position, token): -log(-log(u)), u in (0, 1) from Philox 4x32-10.
float gumbel_noise(std::uint64_t seed, std::uint64_t position, std::int32_t token);

}  // namespace leadline::worker
