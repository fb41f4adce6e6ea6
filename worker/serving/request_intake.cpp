#include "worker/serving/request_intake.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace leadline::worker {
namespace {

constexpr std::uint64_t kLongestDeadlineMs = 7ULL * 24 * 3600 * 1000;  // beyond: clamped, no overflow

tl::unexpected<Error> refuse(std::string message) {
  return monitoring::fail(Errc::configuration, std::move(message));
}

// Empty = all ids are rows of the model; else what is wrong.
std::string outside_vocabulary(std::string_view field, const std::vector<std::int32_t>& ids,
                               std::uint32_t vocab) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || static_cast<std::uint32_t>(ids[i]) >= vocab)
      return std::string(field) + "[" + std::to_string(i) + "] is " + std::to_string(ids[i]) +
             ", the vocabulary has " + std::to_string(vocab) + " ids";
  return {};
}

std::string outside_range(std::string_view field, float value, float low, float high) {
  if (std::isfinite(value) && value >= low && value <= high) return {};
  return std::string(field) + " is " + std::to_string(value) + ", allowed are " + std::to_string(low) +
         " to " + std::to_string(high);
}

std::string wrong_sampling(const transport::SamplingSpec& s, const IntakeLimits& limits) {
  for (std::string wrong :
       {outside_range("temperature", s.temperature, 0.0F, 100.0F),
        outside_range("top_p", s.top_p, 1e-9F, 1.0F), outside_range("min_p", s.min_p, 0.0F, 1.0F),
        outside_range("repetition_penalty", s.repetition_penalty, 1e-3F, 1e3F),
        outside_range("presence_penalty", s.presence_penalty, -100.0F, 100.0F),
        outside_range("frequency_penalty", s.frequency_penalty, -100.0F, 100.0F)})
    if (!wrong.empty()) return wrong;
  if (s.top_k < 0) return "top_k is " + std::to_string(s.top_k);
  if (s.top_logprobs < -1 || s.top_logprobs > limits.max_top_logprobs)
    return "top_logprobs is " + std::to_string(s.top_logprobs);
  if (s.logit_bias.size() > limits.max_logit_bias)
    return "logit_bias has " + std::to_string(s.logit_bias.size()) + " entries";
  for (const auto& [id, bias] : s.logit_bias) {
    if (id < 0 || static_cast<std::uint32_t>(id) >= limits.vocab)
      return "logit_bias names id " + std::to_string(id);
    if (!std::isfinite(bias)) return "logit_bias of id " + std::to_string(id) + " is not finite";
  }
  return {};
}

std::string wrong_request(const transport::Generate& g, const IntakeLimits& limits) {
  if (g.prompt.empty()) return "prompt is empty";
  const std::size_t known = g.prompt.size() + g.generated.size();
  if (known >= limits.max_model_len)
    return "prompt has " + std::to_string(known) + " tokens, the worker serves " +
           std::to_string(limits.max_model_len) + " of prompt and answer";
  if (g.max_tokens == 0) return "max_tokens is 0";
  if (g.generated.size() >= g.max_tokens)
    return "generated has " + std::to_string(g.generated.size()) + " tokens, max_tokens is " +
           std::to_string(g.max_tokens);
  if (g.stop_token_ids.size() > limits.max_stop_ids)
    return "stop_token_ids has " + std::to_string(g.stop_token_ids.size()) + " entries";
  if (g.banned_ids.size() > limits.max_banned_ids)
    return "banned_ids has " + std::to_string(g.banned_ids.size()) + " entries";
  if (g.kv.pinned_prefix > g.prompt.size())
    return "kv.pinned_prefix is " + std::to_string(g.kv.pinned_prefix) + ", the prompt has " +
           std::to_string(g.prompt.size()) + " tokens";
  for (std::string wrong : {outside_vocabulary("prompt", g.prompt, limits.vocab),
                            outside_vocabulary("generated", g.generated, limits.vocab),
                            outside_vocabulary("banned_ids", g.banned_ids, limits.vocab)})
    if (!wrong.empty()) return wrong;
  return wrong_sampling(g.sampling, limits);
}

SamplingParams to_params(const transport::SamplingSpec& s) {
  SamplingParams params;
  params.temperature = s.temperature;
  params.top_k = s.top_k;
  params.top_p = s.top_p;
  params.min_p = s.min_p;
  params.repetition_penalty = s.repetition_penalty;
  params.presence_penalty = s.presence_penalty;
  params.frequency_penalty = s.frequency_penalty;
  params.seed = s.seed;
  params.logit_bias = s.logit_bias;
  params.top_logprobs = s.top_logprobs;
  return params;
}

}  // namespace

Result<Sequence> intake(const InboxGenerate& item, const IntakeLimits& limits) {
  const transport::Generate& g = item.request;
  if (std::string wrong = wrong_request(g, limits); !wrong.empty()) return refuse(std::move(wrong));
  Sequence s;
  s.link = item.link;
  s.request = g.request;
  s.trace_id = g.trace_id;
  s.sampling = to_params(g.sampling);
  s.stop_ids = g.stop_token_ids;
  if (!g.ignore_eos) s.stop_ids.insert(s.stop_ids.end(), limits.eos_ids.begin(), limits.eos_ids.end());
  std::sort(s.stop_ids.begin(), s.stop_ids.end());
  s.stop_ids.erase(std::unique(s.stop_ids.begin(), s.stop_ids.end()), s.stop_ids.end());
  s.banned_ids = g.banned_ids;
  s.prompt_tokens = static_cast<std::uint32_t>(g.prompt.size());
  s.resumed_tokens = static_cast<std::uint32_t>(g.generated.size());
  s.max_tokens = std::min(g.max_tokens, limits.max_model_len - s.prompt_tokens);
  s.min_tokens = g.min_tokens;
  s.allowed_vocab = static_cast<std::int32_t>(g.allowed_vocab == 0 ? limits.vocab
                                                                   : std::min(g.allowed_vocab, limits.vocab));
  s.priority = g.priority;
  s.salt = g.tenant_salt;
  s.speculation = g.speculation;
  s.kv = g.kv;
  s.received = item.received;
  if (g.deadline_ms > 0)
    s.deadline =
        item.received + std::chrono::milliseconds(std::min<std::uint64_t>(g.deadline_ms, kLongestDeadlineMs));
  s.tokens = g.prompt;
  s.tokens.insert(s.tokens.end(), g.generated.begin(), g.generated.end());
  return s;
}

}  // namespace leadline::worker
