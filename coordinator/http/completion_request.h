#pragma once
// CompletionRequest: the JSON of /v1/chat/completions and /v1/completions as validated values. All validation
// of fields lives here and in request_fields; what is not built and would change the answer is refused by
// name, never dropped. Not tokens yet. Thread: pure.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/limits.h"
#include "coordinator/served_model.h"
#include "transport/control/messages.h"

namespace leadline::coordinator {

enum class Endpoint { chat, completions };

struct Prompt {
  std::string text;
  std::vector<transport::TokenId> tokens;
  bool is_tokens = false;
};

struct CompletionRequest {
  Endpoint endpoint = Endpoint::chat;
  std::string model;                  // as the client wrote it; one of ServedModel::names
  nlohmann::json messages;            // chat: normalised for the template: content is one string
  nlohmann::json template_arguments;  // chat_template_kwargs, or null
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  std::vector<Prompt> prompts;     // completions: one or more
  bool add_special_tokens = true;  // completions, prompts given as text

  std::uint32_t n = 1;               // choices per prompt
  transport::SamplingSpec sampling;  // complete; choice i samples with choice_seed(sampling.seed, i)
  std::optional<std::uint32_t> max_tokens;
  std::uint32_t min_tokens = 0;
  std::vector<std::string> stops;
  std::vector<transport::TokenId> stop_token_ids;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool stream = false;
  bool include_usage = false;
  bool return_token_ids = false;
  std::int32_t priority = 0;
  std::uint64_t deadline_ms = 0;  // from receipt; 0 = none
  std::string prompt_cache_key;
  transport::SpeculationWish speculation;
  transport::KvWish kv;
  bool pin_system = true;            // where compression makes a choice, it keeps the system prompt
  std::vector<std::string> ignored;  // fields that were accepted and have no effect

  bool wants_logprobs() const { return sampling.top_logprobs >= 0; }
  const char* prompt_field() const { return endpoint == Endpoint::chat ? "messages" : "prompt"; }
};

struct RequestRules {
  const Limits& limits;
  const ServedModel& model;
  std::uint64_t random_seed = 0;  // used when the request gives none
};

// invalid_request or unsupported with the field's name; not_found for a model that is not served.
Result<CompletionRequest> parse_completion_request(Endpoint endpoint, const nlohmann::json& body,
                                                   const RequestRules& rules);

// The messages of a chat, checked and normalised (also for /tokenize). Unknown keys go to `ignored`.
Result<nlohmann::json> parse_messages(const nlohmann::json& messages, const Limits& limits,
                                      std::vector<std::string>& ignored);

// Choice 0 samples with the request's own seed, so n=1 and the first of n are the same answer; the others
// with seeds mixed from (seed, choice). Over several prompts the choice number restarts: each prompt answers
// as it would alone.
std::uint64_t choice_seed(std::uint64_t seed, std::uint32_t choice);

}  // namespace leadline::coordinator
