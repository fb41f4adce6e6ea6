#pragma once
// CompletionResponse: the exact JSON shapes of OpenAI's chat and text completions, whole and as chunks, from
// values. No state of a generation lives here beyond the text offsets that the completions logprobs need.
// Thread: one owner.

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "coordinator/generation.h"
#include "coordinator/http/completion_request.h"

namespace leadline::coordinator {

struct ResponseIdentity {
  std::string id;     // "chatcmpl-…" or "cmpl-…"
  std::string model;  // as the client named it
  std::int64_t created_unix_s = 0;
};

struct ChoiceState {  // of one choice, as the answer grows
  std::string text;
  std::vector<transport::SampledToken> tokens;
  std::uint64_t text_offset = 0;  // characters of the tokens shown so far
  bool role_sent = false, ids_sent = false, ended = false;
  GenerationResult result;
};

struct ResponseTotals {
  std::uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::array<std::uint64_t, transport::kKvSources> cached_from{};  // cached_tokens; index: KvSource
  std::uint64_t speculation_rounds = 0, drafted_tokens = 0, accepted_tokens = 0;
  std::uint32_t preemptions = 0, continuations = 0;
  double queue_ms = 0, prefill_ms = 0, decode_ms = 0, total_ms = 0;
};

// prompts: counted once each, whatever n is. coordinator_wait_ms: receipt -> first placement.
ResponseTotals total_up(const std::vector<ChoiceState>& choices, std::uint32_t n, double coordinator_wait_ms,
                        double total_ms);

class CompletionResponse {
 public:
  CompletionResponse(const CompletionRequest& request, ResponseIdentity identity, const Tokenizer& tokenizer)
      : request_(request), identity_(std::move(identity)), tokenizer_(tokenizer) {}

  // Each is one JSON text. prompt: the token ids, for return_token_ids.
  std::string role_chunk(std::uint32_t choice,
                         const std::vector<transport::TokenId>& prompt) const;  // chat only
  std::string delta_chunk(std::uint32_t choice, ChoiceState& state, const Delta& delta,
                          const std::vector<transport::TokenId>& prompt) const;
  // The last chunk of a choice. totals: given with the last choice, for `timings`.
  std::string finish_chunk(std::uint32_t choice, const ChoiceState& state,
                           const ResponseTotals* totals) const;
  std::string usage_chunk(const ResponseTotals& totals) const;
  std::string whole(std::vector<ChoiceState>& choices,
                    const std::vector<std::vector<transport::TokenId>>& prompts,
                    const ResponseTotals& totals) const;

 private:
  nlohmann::ordered_json envelope(bool chunk) const;
  nlohmann::ordered_json logprobs(ChoiceState& state,
                                  const std::vector<transport::SampledToken>& tokens) const;
  nlohmann::ordered_json chat_logprob(transport::TokenId token, float logprob) const;
  std::string token_text(transport::TokenId token, std::string& bytes) const;
  nlohmann::ordered_json stop_reason(const GenerationResult& result) const;
  std::string dump(const nlohmann::ordered_json& value) const;
  bool chat() const { return request_.endpoint == Endpoint::chat; }

  const CompletionRequest& request_;
  const ResponseIdentity identity_;
  const Tokenizer& tokenizer_;
};

const char* finish_reason(const GenerationResult& result);  // "stop" or "length"

}  // namespace leadline::coordinator
