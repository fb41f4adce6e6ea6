#include "coordinator/http/openapi.h"

#include <nlohmann/json.hpp>

#include "coordinator/http/api.h"
#include "coordinator/http/engine_wishes.h"
#include "coordinator/http/info_handler.h"
#include "coordinator/http/kv_handler.h"

namespace leadline::coordinator {

namespace {

using Json = nlohmann::ordered_json;

Json number(double low, double high, const char* text) {
  return {{"type", "number"}, {"minimum", low}, {"maximum", high}, {"description", text}};
}
Json integer(std::int64_t low, std::int64_t high, const char* text) {
  return {{"type", "integer"}, {"minimum", low}, {"maximum", high}, {"description", text}};
}
Json boolean(const char* text) {
  return {{"type", "boolean"}, {"description", text}};
}
Json text(const char* description) {
  return {{"type", "string"}, {"description", description}};
}

Json shared_fields(const Limits& l) {
  Json p;
  p["model"] = text("a served model's name");
  p["n"] =
      integer(1, l.n, "choices per prompt; choice 0 uses the seed itself, the others seeds derived from it");
  p["temperature"] = number(0, 2, "0 is greedy; default from the checkpoint's generation_config.json");
  p["top_p"] = number(0, 1, "above 0");
  p["top_k"] = integer(-1, 1'000'000, "0 or -1: off");
  p["min_p"] = number(0, 1, "below 1");
  p["repetition_penalty"] = number(0, 2, "above 0");
  p["presence_penalty"] = number(-2, 2, "");
  p["frequency_penalty"] = number(-2, 2, "");
  p["seed"] = {{"type", "integer"},
               {"description", "same request and seed, same tokens; random when absent"}};
  p["logit_bias"] = {{"type", "object"},
                     {"maxProperties", l.logit_bias},
                     {"description", "token id to bias in [-100, 100]"}};
  p["max_tokens"] = {{"type", "integer"}, {"minimum", 1}};
  p["min_tokens"] = {{"type", "integer"}, {"minimum", 0}, {"description", "no stop id is sampled before"}};
  p["stop"] = {
      {"description", "one string or a list"},
      {"anyOf",
       Json::array({Json{{"type", "string"}},
                    Json{{"type", "array"}, {"items", Json{{"type", "string"}}}, {"maxItems", l.stops}}})}};
  p["stop_token_ids"] = {
      {"type", "array"}, {"items", Json{{"type", "integer"}}}, {"maxItems", l.stop_token_ids}};
  p["ignore_eos"] = boolean("go on past the model's own end");
  p["skip_special_tokens"] = boolean("default true");
  p["stream"] = boolean("server-sent events");
  p["stream_options"] = {{"type", "object"},
                         {"properties", Json{{"include_usage", boolean("a last chunk with usage")}}}};
  p["return_token_ids"] = boolean("token ids of prompt and answer");
  p["priority"] = integer(-l.priority, l.priority, "higher first");
  p["deadline_ms"] =
      integer(1, static_cast<std::int64_t>(l.deadline_ms), "from receipt; then 408, or an error event");
  p["prompt_cache_key"] = {{"type", "string"},
                           {"maxLength", l.cache_key_bytes},
                           {"description", "requests of one key stay on one worker"}};
  p["speculation"] = {
      {"type", "object"},
      {"description", "how the answer is computed; it stays the same"},
      {"properties",
       Json{{"mode", Json{{"type", "string"}, {"enum", Json::array({"auto", "off", "static", "learned"})}}},
            {"max_draft", integer(1, kMaxDraft, "tokens drafted in one round")}}}};
  p["kv"] = {
      {"type", "object"},
      {"description", "how much context is kept, and whether its blocks are"},
      {"properties", Json{{"compression", text("exact, or a method's name")},
                          {"budget", number(0, 1, "share of the context kept; above 0")},
                          {"tokens", integer(1, kMaxKvTokens, "instead of budget: tokens kept")},
                          {"threshold", number(-1, 1, "of a method that merges by similarity")},
                          {"pin_system", boolean("default true; false: a system prompt may be compressed")},
                          {"store", boolean("default true; false: no block leaves the worker")},
                          {"ttl_s", integer(1, kMaxKvTtlSeconds, "of the stored blocks")}}}};
  return p;
}

Json schema_of(std::string_view path, const Limits& l) {
  Json p;
  Json required = Json::array();
  if (path == "/v1/chat/completions") {
    p = shared_fields(l);
    p["messages"] = {
        {"type", "array"}, {"minItems", 1}, {"maxItems", l.messages}, {"items", Json{{"type", "object"}}}};
    p["max_completion_tokens"] = {{"type", "integer"}, {"minimum", 1}};
    p["logprobs"] = boolean("");
    p["top_logprobs"] = integer(0, l.top_logprobs, "needs logprobs");
    p["chat_template_kwargs"] = {{"type", "object"}};
    p["add_generation_prompt"] = boolean("default true");
    p["continue_final_message"] = boolean("");
    required = {"model", "messages"};
  } else if (path == "/v1/completions") {
    p = shared_fields(l);
    p["prompt"] = {{"description", "a text, a list of texts, a list of token ids, or a list of such lists"}};
    p["logprobs"] = integer(0, l.top_logprobs, "alternatives per token");
    p["add_special_tokens"] = boolean("default true");
    required = {"model", "prompt"};
  } else if (path == "/tokenize") {
    p["prompt"] = text("exclusive with messages");
    p["messages"] = {{"type", "array"}};
    p["add_special_tokens"] = boolean("");
    p["add_generation_prompt"] = boolean("");
  } else if (path == "/detokenize") {
    p["tokens"] = {{"type", "array"}, {"items", Json{{"type", "integer"}}}};
    required = {"tokens"};
  } else {
    return nullptr;
  }
  Json schema{{"type", "object"}, {"properties", p}};
  if (!required.empty()) schema["required"] = required;
  return schema;
}

Json operation(const Route& route, const Limits& limits) {
  Json out;
  out["summary"] = route.summary;
  const Json schema = schema_of(route.path, limits);
  if (!schema.is_null()) {
    out["requestBody"] = {{"required", true}, {"content", {{"application/json", {{"schema", schema}}}}}};
  }
  if (route.path.ends_with('*')) {
    out["parameters"] = Json::array(
        {Json{{"name", "model"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
  }
  if (route.path == kKvExplainPath)
    out["parameters"] = Json::array({Json{{"name", "request_id"},
                                          {"in", "query"},
                                          {"required", true},
                                          {"description", "X-Request-Id of an earlier answer"},
                                          {"schema", {{"type", "string"}}}}});
  out["responses"] = {
      {"200", {{"description", "the answer"}}},
      {"default",
       {{"description", "an error object"},
        {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}}}};
  return out;
}

}  // namespace

std::string openapi_document(const Limits& limits, bool needs_key) {
  Json out;
  out["openapi"] = "3.1.0";
  out["info"] = {{"title", "Leadline"}, {"version", kLeadlineVersion}};
  for (const Route& route : routes()) {
    if (route.console) continue;
    std::string path(route.path);
    if (path.ends_with('*')) path = path.substr(0, path.size() - 1) + "{model}";
    const std::string method = route.method == "GET" ? "get" : "post";
    out["paths"][path][method] = operation(route, limits);
  }
  const Json nullable = {{"type", Json::array({"string", "null"})}};
  out["components"]["schemas"]["Error"] = {{"type", "object"},
                                           {"properties",
                                            {{"error",
                                              {{"type", "object"},
                                               {"properties",
                                                {{"message", {{"type", "string"}}},
                                                 {"type", {{"type", "string"}}},
                                                 {"param", nullable},
                                                 {"code", nullable}}}}}}}};
  if (needs_key) {
    out["components"]["securitySchemes"]["key"] = {{"type", "http"}, {"scheme", "bearer"}};
    out["security"] = Json::array({Json{{"key", Json::array()}}});
  }
  return out.dump();
}

}  // namespace leadline::coordinator
