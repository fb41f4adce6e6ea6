#include "coordinator/http/completion_response.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace leadline::coordinator {

namespace {

using Json = nlohmann::ordered_json;
using transport::SampledToken;
using transport::TokenId;

constexpr float kLowestLogprob = -9999.0F;  // JSON has no infinity

bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t length = c < 0x80                ? 1
                               : c >= 0xC2 && c < 0xE0 ? 2
                               : c >= 0xE0 && c < 0xF0 ? 3
                               : c >= 0xF0 && c < 0xF5 ? 4
                                                       : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

std::uint64_t count_characters(std::string_view text) {
  return static_cast<std::uint64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

float finite(float logprob) {
  return std::max(logprob, kLowestLogprob);
}

Json byte_list(std::string_view bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned>(static_cast<unsigned char>(c)));
  return list;
}

Json usage(const ResponseTotals& totals) {
  Json out;
  out["prompt_tokens"] = totals.prompt_tokens;
  out["completion_tokens"] = totals.generated_tokens;
  out["total_tokens"] = totals.prompt_tokens + totals.generated_tokens;
  const auto& [device, memory, disk, redis] = totals.cached_from;
  out["prompt_tokens_details"] = {
      {"cached_tokens", totals.cached_tokens},
      {"cached_by_tier", {{"device", device}, {"memory", memory}, {"disk", disk}, {"redis", redis}}}};
  out["speculation"] = {{"rounds", totals.speculation_rounds},
                        {"drafted", totals.drafted_tokens},
                        {"accepted", totals.accepted_tokens}};
  return out;
}

double rounded(double ms) {
  return static_cast<double>(static_cast<std::int64_t>(ms * 1000 + 0.5)) / 1000;
}

Json timings(const ResponseTotals& totals) {
  Json out;
  out["queue_ms"] = rounded(totals.queue_ms);
  out["prefill_ms"] = rounded(totals.prefill_ms);
  out["decode_ms"] = rounded(totals.decode_ms);
  out["total_ms"] = rounded(totals.total_ms);
  out["generated_per_second"] =
      totals.decode_ms > 0 ? rounded(static_cast<double>(totals.generated_tokens) * 1000 / totals.decode_ms)
                           : 0.0;
  out["preemptions"] = totals.preemptions;
  out["continuations"] = totals.continuations;
  return out;
}

Json ids_of(const std::vector<SampledToken>& tokens) {
  Json ids = Json::array();
  for (const SampledToken& token : tokens) ids.push_back(token.token);
  return ids;
}

}  // namespace

const char* finish_reason(const GenerationResult& result) {
  return result.outcome == Outcome::length ? "length" : "stop";
}

ResponseTotals total_up(const std::vector<ChoiceState>& choices, std::uint32_t n, double coordinator_wait_ms,
                        double total_ms) {
  ResponseTotals totals;
  double worker_queue_ms = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const GenerationResult& r = choices[i].result;
    if (i % n == 0) {  // the first choice of each prompt stands for the prompt
      totals.prompt_tokens += r.prompt_tokens;
      totals.cached_tokens += r.cached_tokens;
      const auto from = r.cached_from();
      for (std::size_t s = 0; s < from.size(); ++s) totals.cached_from[s] += from[s];
    }
    totals.speculation_rounds += r.speculation_rounds;
    totals.drafted_tokens += r.drafted_tokens;
    totals.accepted_tokens += r.accepted_tokens;
    totals.generated_tokens += r.generated_tokens;
    totals.preemptions += r.preemptions;
    totals.continuations += r.continuations;
    worker_queue_ms = std::max(worker_queue_ms, static_cast<double>(r.queue_us) / 1e3);
    totals.prefill_ms = std::max(totals.prefill_ms, static_cast<double>(r.prefill_us) / 1e3);
    totals.decode_ms = std::max(totals.decode_ms, static_cast<double>(r.decode_us) / 1e3);
  }
  totals.queue_ms = coordinator_wait_ms + worker_queue_ms;
  totals.total_ms = total_ms;
  return totals;
}

std::string CompletionResponse::dump(const Json& value) const {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json CompletionResponse::envelope(bool chunk) const {
  Json out;
  out["id"] = identity_.id;
  out["object"] = chat() ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion";
  out["created"] = identity_.created_unix_s;
  out["model"] = identity_.model;
  out["system_fingerprint"] = nullptr;
  out["choices"] = Json::array();
  if (chunk && request_.include_usage) out["usage"] = nullptr;
  return out;
}

std::string CompletionResponse::token_text(TokenId token, std::string& bytes) const {
  bytes.clear();
  tokenizer_.append_bytes(token, false, bytes);
  if (is_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) {
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += hex;
  }
  return text;
}

Json CompletionResponse::chat_logprob(TokenId token, float logprob) const {
  std::string bytes;
  Json out;
  out["token"] = token_text(token, bytes);
  out["logprob"] = finite(logprob);
  out["bytes"] = byte_list(bytes);
  return out;
}

Json CompletionResponse::logprobs(ChoiceState& state, const std::vector<SampledToken>& tokens) const {
  if (!request_.wants_logprobs()) return nullptr;
  if (chat()) {
    Json content = Json::array();
    for (const SampledToken& token : tokens) {
      Json entry = chat_logprob(token.token, token.logprob);
      if (token.draft_layer != 0) {
        entry["draft_layer"] = std::abs(token.draft_layer);
        entry["accepted"] = token.draft_layer > 0;
      }
      entry["top_logprobs"] = Json::array();
      for (const auto& top : token.top_logprobs)
        entry["top_logprobs"].push_back(chat_logprob(top.token, top.logprob));
      content.push_back(std::move(entry));
    }
    Json out;
    out["content"] = std::move(content);
    out["refusal"] = nullptr;
    return out;
  }
  Json texts = Json::array(), values = Json::array(), tops = Json::array(), offsets = Json::array();
  std::string bytes;
  for (const SampledToken& token : tokens) {
    texts.push_back(token_text(token.token, bytes));
    values.push_back(finite(token.logprob));
    offsets.push_back(state.text_offset);
    state.text_offset += count_characters(bytes);
    if (request_.sampling.top_logprobs == 0) continue;
    Json top = Json::object();
    for (const auto& entry : token.top_logprobs) top[token_text(entry.token, bytes)] = finite(entry.logprob);
    tops.push_back(std::move(top));
  }
  Json out;
  out["tokens"] = std::move(texts);
  out["token_logprobs"] = std::move(values);
  out["top_logprobs"] = request_.sampling.top_logprobs == 0 ? Json(nullptr) : std::move(tops);
  out["text_offset"] = std::move(offsets);
  return out;
}

Json CompletionResponse::stop_reason(const GenerationResult& result) const {
  if (result.stop_string && *result.stop_string < request_.stops.size())
    return request_.stops[*result.stop_string];
  const auto& ids = request_.stop_token_ids;
  if (std::find(ids.begin(), ids.end(), result.stop_token) != ids.end()) return result.stop_token;
  return nullptr;
}

std::string CompletionResponse::role_chunk(std::uint32_t choice, const std::vector<TokenId>& prompt) const {
  Json out = envelope(true);
  Json entry;
  entry["index"] = choice;
  entry["delta"] = {{"role", "assistant"}, {"content", ""}};
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = nullptr;
  out["choices"].push_back(std::move(entry));
  if (request_.return_token_ids) out["prompt_token_ids"] = prompt;
  return dump(out);
}

std::string CompletionResponse::delta_chunk(std::uint32_t choice, ChoiceState& state, const Delta& delta,
                                            const std::vector<TokenId>& prompt) const {
  Json out = envelope(true);
  Json entry;
  entry["index"] = choice;
  if (chat()) {
    entry["delta"] = {{"content", delta.text}};
  } else {
    entry["text"] = delta.text;
  }
  entry["logprobs"] = delta.tokens.empty() ? Json(nullptr) : logprobs(state, delta.tokens);
  entry["finish_reason"] = nullptr;
  if (request_.return_token_ids) {
    if (!chat() && !state.ids_sent) entry["prompt_token_ids"] = prompt;
    state.ids_sent = true;
    entry["token_ids"] = ids_of(delta.tokens);
  }
  out["choices"].push_back(std::move(entry));
  return dump(out);
}

std::string CompletionResponse::finish_chunk(std::uint32_t choice, const ChoiceState& state,
                                             const ResponseTotals* totals) const {
  Json out = envelope(true);
  Json entry;
  entry["index"] = choice;
  if (chat()) {
    entry["delta"] = Json::object();
  } else {
    entry["text"] = "";
  }
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = finish_reason(state.result);
  entry["stop_reason"] = stop_reason(state.result);
  out["choices"].push_back(std::move(entry));
  if (totals != nullptr) out["timings"] = timings(*totals);
  return dump(out);
}

std::string CompletionResponse::usage_chunk(const ResponseTotals& totals) const {
  Json out = envelope(true);
  out["usage"] = usage(totals);
  out["timings"] = timings(totals);
  return dump(out);
}

std::string CompletionResponse::whole(std::vector<ChoiceState>& choices,
                                      const std::vector<std::vector<TokenId>>& prompts,
                                      const ResponseTotals& totals) const {
  Json out = envelope(false);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    ChoiceState& state = choices[i];
    Json entry;
    entry["index"] = i;
    if (chat()) {
      entry["message"] = {{"role", "assistant"}, {"content", state.text}, {"refusal", nullptr}};
    } else {
      entry["text"] = state.text;
    }
    entry["logprobs"] = logprobs(state, state.tokens);
    entry["finish_reason"] = finish_reason(state.result);
    entry["stop_reason"] = stop_reason(state.result);
    if (request_.return_token_ids) {
      if (!chat()) entry["prompt_token_ids"] = prompts[i / request_.n];
      entry["token_ids"] = ids_of(state.tokens);
    }
    out["choices"].push_back(std::move(entry));
  }
  out["usage"] = usage(totals);
  out["timings"] = timings(totals);
  if (request_.return_token_ids && chat()) out["prompt_token_ids"] = prompts.front();
  return dump(out);
}

}  // namespace leadline::coordinator
