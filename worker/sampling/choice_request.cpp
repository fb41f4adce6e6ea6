#include "worker/sampling/choice_request.h"

#include <algorithm>
#include <cmath>

namespace leadline::worker {

namespace {

// One edit per id that a penalty touches, with its count among the generated; by id.
void append_penalties(const SamplingRow& row, const SamplingParams& params, std::vector<LogitEdit>& edits) {
  const bool repetition = params.repetition_penalty != 1.0F;
  if (!repetition && params.presence_penalty == 0.0F && params.frequency_penalty == 0.0F) return;
  std::vector<std::int32_t> ids(row.generated.begin(), row.generated.end());
  std::sort(ids.begin(), ids.end());
  std::vector<LogitEdit> of;
  for (const std::int32_t id : ids) {
    if (of.empty() || of.back().id != id) of.push_back({id, LogitEdit::penalise, 0, 0});
    ++of.back().count;
  }
  if (repetition) {
    const std::size_t generated = of.size();
    ids.assign(row.prompt.begin(), row.prompt.end());
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    const auto known = std::span(of).first(generated);
    std::vector<LogitEdit> fresh;
    for (const std::int32_t id : ids)
      if (!std::binary_search(known.begin(), known.end(), LogitEdit{id},
                              [](const LogitEdit& a, const LogitEdit& b) { return a.id < b.id; }))
        fresh.push_back({id, LogitEdit::penalise, 0, 0});
    of.insert(of.end(), fresh.begin(), fresh.end());
  }
  edits.insert(edits.end(), of.begin(), of.end());
}

}  // namespace

bool append_choice(const SamplingRow& row, const SamplingParams& params, std::int32_t logit_row,
                   std::vector<TokenChoiceRow>& rows, std::vector<LogitEdit>& edits) {
  if (params.top_logprobs > kMaxChoiceTop) return false;
  std::vector<LogitEdit> own;
  for (const std::int32_t id : row.banned) own.push_back({id, LogitEdit::ban, 0, 0});
  for (const auto& [id, bias] : params.logit_bias)
    if (bias == bias) own.push_back({id, LogitEdit::add, bias, 0});
  append_penalties(row, params, own);
  std::erase_if(own, [&](const LogitEdit& e) { return e.id < 0 || e.id >= row.allowed_vocab; });
  if (own.size() > static_cast<std::size_t>(kMaxChoiceEdits)) return false;
  // Bans, biases in their order, penalties: the sampler's order for each id.
  std::stable_sort(own.begin(), own.end(),
                   [](const LogitEdit& a, const LogitEdit& b) { return a.id < b.id; });
  TokenChoiceRow asked;
  asked.logit_row = logit_row;
  asked.allowed_vocab = std::max(row.allowed_vocab, 0);
  asked.edits = static_cast<std::int32_t>(own.size());
  asked.top_k = params.top_k;
  asked.temperature = params.temperature;
  asked.top_p = params.top_p;
  asked.min_p_edge = params.min_p > 0
                         ? static_cast<float>(std::log(std::min(1.0, static_cast<double>(params.min_p))))
                         : 1.0F;
  asked.repetition = params.repetition_penalty;
  asked.frequency = params.frequency_penalty;
  asked.presence = params.presence_penalty;
  asked.top_logprobs = params.top_logprobs;
  asked.seed = params.seed;
  asked.position = row.position;
  rows.push_back(asked);
  edits.insert(edits.end(), own.begin(), own.end());
  return true;
}

SampledRow sampled_of(const TokenChoice& choice, bool logprobs) {
  SampledRow row;
  row.token = choice.token;
  row.no_candidate = choice.no_candidate != 0;
  if (!logprobs || row.no_candidate) return row;
  row.logprob = choice.logprob;
  for (std::int32_t i = 0; i < choice.tops; ++i)
    row.top_logprobs.emplace_back(choice.top_ids[i], choice.top_logprobs[i]);
  return row;
}

}  // namespace leadline::worker
