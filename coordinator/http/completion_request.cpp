#include "coordinator/http/completion_request.h"

#include <charconv>

#include "coordinator/http/engine_wishes.h"
#include "coordinator/http/request_fields.h"

namespace leadline::coordinator {

namespace {

using nlohmann::json;
using transport::TokenId;

constexpr std::uint32_t kCompletionDefaultMaxTokens = 16;  // OpenAI's

void read_model(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  if (const json* model = fields.find("model")) {
    if (!model->is_string()) return fields.reject("model", "must be a string, not " + show_value(*model));
    out.model = model->get<std::string>();
    if (!rules.model.serves(out.model)) {
      fields.reject("model", "the model " + show_value(*model) + " is not served here", Errc::not_found);
    }
  } else {
    fields.reject("model", "is required");
  }
}

void read_sampling(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  auto& s = out.sampling;
  const auto& d = rules.model.defaults;
  s.temperature = d.temperature;
  s.top_p = d.top_p;
  s.top_k = d.top_k;
  s.min_p = d.min_p;
  s.repetition_penalty = d.repetition_penalty;
  fields.number("temperature", s.temperature, 0, 2);
  fields.number("top_p", s.top_p, 0, 1, true);
  fields.integer("top_k", s.top_k, -1, 1'000'000);
  if (s.top_k < 0) s.top_k = 0;
  fields.number("min_p", s.min_p, 0, 1, false, true);
  fields.number("repetition_penalty", s.repetition_penalty, 0, 2, true);
  fields.number("presence_penalty", s.presence_penalty, -2, 2);
  fields.number("frequency_penalty", s.frequency_penalty, -2, 2);
  s.seed = rules.random_seed;
  if (const auto seed = fields.integer_in("seed", INT64_MIN, INT64_MAX))
    s.seed = static_cast<std::uint64_t>(*seed);
}

void read_logit_bias(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  const json* bias = fields.find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) return fields.reject("logit_bias", "must be an object, not " + show_value(*bias));
  if (bias->size() > rules.limits.logit_bias) {
    return fields.reject("logit_bias",
                         "has more than " + std::to_string(rules.limits.logit_bias) + " entries");
  }
  for (const auto& [key, value] : bias->items()) {
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id >= rules.model.vocab_size) {
      return fields.reject("logit_bias",
                           "the key " + show_value(json(key)) + " is not a token id of this model");
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      return fields.reject("logit_bias", "the bias of " + key + " must be a number in [-100, 100]");
    }
    out.sampling.logit_bias.emplace_back(static_cast<TokenId>(id), value.get<float>());
  }
}

void read_logprobs(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  if (out.endpoint == Endpoint::completions) {
    fields.integer("logprobs", out.sampling.top_logprobs, 0, rules.limits.top_logprobs);
    return;
  }
  bool wanted = false;
  fields.boolean("logprobs", wanted);
  if (wanted) out.sampling.top_logprobs = 0;
  std::int32_t top = 0;
  fields.integer("top_logprobs", top, 0, rules.limits.top_logprobs);
  if (top > 0 && !wanted) return fields.reject("top_logprobs", "needs logprobs: true");
  if (wanted) out.sampling.top_logprobs = top;
}

void read_lengths(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  const std::int64_t longest = rules.model.max_model_len;
  const auto take = [&](const char* name) {
    if (const auto value = fields.integer_in(name, 1, longest))
      out.max_tokens = static_cast<std::uint32_t>(*value);
  };
  take("max_tokens");
  if (out.endpoint == Endpoint::chat) {
    take("max_completion_tokens");  // the newer name wins
  } else if (!out.max_tokens) {
    out.max_tokens = kCompletionDefaultMaxTokens;
  }
  fields.integer("min_tokens", out.min_tokens, 0, longest);
  if (out.max_tokens && out.min_tokens > *out.max_tokens) {
    fields.reject("min_tokens", "is larger than max_tokens (" + std::to_string(*out.max_tokens) + ")");
  }
}

void read_stops(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  fields.token_ids("stop_token_ids", out.stop_token_ids, rules.limits.stop_token_ids, rules.model.vocab_size);
  const json* stop = fields.find("stop");
  if (stop == nullptr) return;
  const auto add = [&](const json& value) {
    if (!value.is_string()) return fields.reject("stop", "must be a string or a list of strings");
    const auto& text = value.get_ref<const std::string&>();
    if (text.empty()) return fields.reject("stop", "an empty stop string would end every answer");
    if (text.size() > rules.limits.stop_bytes) {
      return fields.reject(
          "stop", "a stop string is longer than " + std::to_string(rules.limits.stop_bytes) + " bytes");
    }
    out.stops.push_back(text);
  };
  if (!stop->is_array()) return add(*stop);
  if (stop->size() > rules.limits.stops) {
    return fields.reject("stop", "has more than " + std::to_string(rules.limits.stops) + " strings");
  }
  for (const json& value : *stop) add(value);
}

void read_stream(FieldReader& fields, CompletionRequest& out) {
  fields.boolean("stream", out.stream);
  const json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object())
    return fields.reject("stream_options", "must be an object, not " + show_value(*options));
  if (!out.stream) return fields.reject("stream_options", "needs stream: true");
  for (const auto& [key, value] : options->items()) {
    if (key == "include_usage" && (value.is_boolean() || value.is_null())) {
      out.include_usage = value.is_boolean() && value.get<bool>();
    } else if (key == "include_usage") {
      return fields.reject("stream_options.include_usage", "must be true or false, not " + show_value(value));
    } else if (!value.is_null()) {
      out.ignored.push_back("stream_options." + key);
    }
  }
}

Result<Prompt> token_prompt(const json& array, const std::string& name, const RequestRules& rules) {
  auto ids = read_token_ids(array, name, rules.model.max_model_len, rules.model.vocab_size);
  if (!ids) {
    ids.error().param = "prompt";
    return tl::unexpected(ids.error());
  }
  Prompt prompt;
  prompt.tokens = std::move(*ids);
  prompt.is_tokens = true;
  return prompt;
}

// OpenAI's four forms: a text, a list of texts, a list of token ids, a list of lists of token ids.
Result<std::vector<Prompt>> read_prompts(const json& value, const RequestRules& rules) {
  std::vector<Prompt> prompts;
  if (value.is_string()) {
    prompts.push_back({value.get<std::string>(), {}, false});
    return prompts;
  }
  if (!value.is_array() || value.empty()) {
    return fail(Errc::invalid_request,
                "prompt: must be a text, a list of texts, a list of token ids or a list of such lists, "
                "and not empty",
                "prompt");
  }
  if (value.front().is_number()) {
    auto prompt = token_prompt(value, "prompt", rules);
    if (!prompt) return tl::unexpected(prompt.error());
    prompts.push_back(std::move(*prompt));
    return prompts;
  }
  if (value.size() > rules.limits.prompts) {
    return fail(Errc::invalid_request,
                "prompt: more than " + std::to_string(rules.limits.prompts) + " prompts", "prompt");
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (value[i].type() != value.front().type())
      return fail(Errc::invalid_request, name + ": texts and lists are mixed", "prompt");
    if (value[i].is_string()) {
      prompts.push_back({value[i].get<std::string>(), {}, false});
      continue;
    }
    auto prompt = token_prompt(value[i], name, rules);
    if (!prompt) return tl::unexpected(prompt.error());
    prompts.push_back(std::move(*prompt));
  }
  return prompts;
}

void read_chat(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  const json* messages = fields.find("messages");
  if (messages == nullptr) return fields.reject("messages", "is required");
  auto parsed = parse_messages(*messages, rules.limits, out.ignored);
  if (!parsed) return fields.reject(parsed.error().param, parsed.error().message, parsed.error().code);
  out.messages = std::move(*parsed);
  if (const json* arguments = fields.find("chat_template_kwargs")) {
    if (!arguments->is_object()) return fields.reject("chat_template_kwargs", "must be an object");
    out.template_arguments = *arguments;
  }
  fields.boolean("add_generation_prompt", out.add_generation_prompt);
  fields.boolean("continue_final_message", out.continue_final_message);
  if (out.continue_final_message && out.add_generation_prompt &&
      fields.find("add_generation_prompt") != nullptr) {
    fields.reject("continue_final_message", "excludes add_generation_prompt");
  }
  if (out.continue_final_message) out.add_generation_prompt = false;
}

void read_prompt_fields(FieldReader& fields, const RequestRules& rules, CompletionRequest& out) {
  const json* prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.reject("prompt", "is required");
  auto prompts = read_prompts(*prompt, rules);
  if (!prompts) {
    const std::string& message = prompts.error().message;
    return fields.reject("prompt", message.starts_with("prompt: ") ? message.substr(8) : message);
  }
  out.prompts = std::move(*prompts);
  fields.boolean("add_special_tokens", out.add_special_tokens);
}

}  // namespace

std::uint64_t choice_seed(std::uint64_t seed, std::uint32_t choice) {
  if (choice == 0) return seed;
  std::uint64_t x = seed + choice * 0x9E3779B97F4A7C15ULL;  // splitmix64's step and finaliser
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

Result<CompletionRequest> parse_completion_request(Endpoint endpoint, const json& body,
                                                   const RequestRules& rules) {
  FieldReader fields(body);
  CompletionRequest out;
  out.endpoint = endpoint;
  read_model(fields, rules, out);
  if (endpoint == Endpoint::chat) {
    read_chat(fields, rules, out);
  } else {
    read_prompt_fields(fields, rules, out);
  }
  fields.integer("n", out.n, 1, rules.limits.n);
  if (out.n * std::max<std::size_t>(out.prompts.size(), 1) > rules.limits.choices) {
    fields.reject("n", "n times the number of prompts is beyond " + std::to_string(rules.limits.choices));
  }
  read_sampling(fields, rules, out);
  read_logit_bias(fields, rules, out);
  read_logprobs(fields, rules, out);
  read_lengths(fields, rules, out);
  read_stops(fields, rules, out);
  read_stream(fields, out);
  fields.boolean("ignore_eos", out.ignore_eos);
  fields.boolean("skip_special_tokens", out.skip_special_tokens);
  fields.boolean("return_token_ids", out.return_token_ids);
  fields.integer("priority", out.priority, -rules.limits.priority, rules.limits.priority);
  fields.integer("deadline_ms", out.deadline_ms, 1, static_cast<std::int64_t>(rules.limits.deadline_ms));
  fields.text("prompt_cache_key", out.prompt_cache_key, rules.limits.cache_key_bytes);
  read_engine_wishes(fields, out);

  std::vector<std::string> ignored = fields.finish();
  if (!fields.ok()) return tl::unexpected(fields.fault());
  out.ignored.insert(out.ignored.end(), ignored.begin(), ignored.end());
  return out;
}

}  // namespace leadline::coordinator
