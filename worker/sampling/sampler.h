#pragma once
// Sampler: logits of one row -> one token, a pure function. Not random: the noise is a function of (seed,
// position, token id) (exactness X3), so batch, ranks, restarts and speculation do not change an answer.
// Order: mask -> bias -> repetition, frequency, presence -> log-softmax (reported logprobs) -> temperature
// -> top-k -> top-p -> min-p -> argmax of log p + Gumbel noise.
// Greedy (temperature <= 0) is argmax without noise; ties go to the smaller id.
// Thread: any; no state but scratch passed in.
//
// Definitions, as Hugging Face's warpers and vLLM have them:
//   bias        added to the raw logit; ids out of range are ignored, an id given twice is added twice
//   repetition  every id of prompt or generated, once: l > 0 ? l / r : l * r
//   frequency   l -= f * count in generated;  presence: l -= p if in generated (OpenAI)
//   top-k       the k largest
//   top-p       an id stays while the probability of all ids before it (descending) is < p: the id that
//               crosses p stays, and the first always does; probabilities after top-k, renormalised
//   min-p       p_i >= min_p * p_max
// Equal values order by id, smaller first, in every filter. Ids >= allowed_vocab, banned ids and NaN have no
// probability at all (masked before log-softmax); +inf counts as the largest float.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace leadline::worker {

struct SamplingParams {
  float temperature = 1.0F;         // <= 0: greedy
  std::int32_t top_k = 0;           // <= 0: off
  float top_p = 1.0F;               // >= 1: off; <= 0: the first only
  float min_p = 0.0F;               // <= 0: off
  float repetition_penalty = 1.0F;  // > 0; 1: off
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
  float logprob = 0;  // valid if top_logprobs >= 0
  std::vector<std::pair<std::int32_t, float>>
      top_logprobs;  // descending, ties by smaller id; ids without probability left out
  bool no_candidate =
      false;  // every id was masked, NaN or -inf: token is 0, and the caller should fail the sequence
};

struct SamplerScratch {
  std::vector<float> logits;          // (allowed_vocab) masked, biased, penalised
  std::vector<float> warped;          // (allowed_vocab) log p up to a constant, filtered
  std::vector<float> weights;         // (allowed_vocab) exp of it, for top-p
  std::vector<std::int32_t> order;    // selected ids
  std::vector<std::uint32_t> counts;  // (allowed_vocab) of generated ids; all zero between calls
};

SampledRow sample(const SamplingRow& row, const SamplingParams& params, SamplerScratch& scratch);

// Standard Gumbel noise of one (seed, position, token): -log(-log(u)), u = (w + 1/2) / 2^32 with w = word
// token % 4 of Philox 4x32-10 with key = seed and counter = (token / 4, position low, position high, 0).
float gumbel_noise(std::uint64_t seed, std::uint64_t position, std::int32_t token);

}  // namespace leadline::worker
