#include "coordinator/http/request_fields.h"

#include <algorithm>
#include <cmath>

namespace leadline::coordinator {

namespace {

using nlohmann::json;

// What makes a field that is not built harmless: absent, null, or the value that means "off".
enum class Neutral {
  never,
  false_value,
  empty,
  zero,
  one,
  text_format,
  text_modality,
  auto_or_none,
  equals_n,
  true_value
};

struct NotBuilt {
  std::string_view name;
  Neutral neutral;
  std::string_view hint;
};

constexpr NotBuilt kNotBuilt[] = {
    {"tools", Neutral::empty, "tool calling is not built"},
    {"tool_choice", Neutral::auto_or_none, "tool calling is not built"},
    {"functions", Neutral::empty, "function calling is not built"},
    {"function_call", Neutral::auto_or_none, "function calling is not built"},
    {"response_format", Neutral::text_format, "only {\"type\": \"text\"} is built"},
    {"structured_outputs", Neutral::empty, "structured output is not built"},
    {"guided_json", Neutral::never, "guided decoding is not built"},
    {"guided_regex", Neutral::never, "guided decoding is not built"},
    {"guided_choice", Neutral::never, "guided decoding is not built"},
    {"guided_grammar", Neutral::never, "guided decoding is not built"},
    {"grammar", Neutral::empty, "guided decoding is not built"},
    {"json_schema", Neutral::empty, "guided decoding is not built"},
    {"regex", Neutral::empty, "guided decoding is not built"},
    {"echo", Neutral::false_value, "echoing the prompt is not built"},
    {"suffix", Neutral::empty, "insertion before a suffix is not built"},
    {"best_of", Neutral::equals_n, "best_of beyond n is not built"},
    {"use_beam_search", Neutral::false_value, "beam search is not built"},
    {"length_penalty", Neutral::one, "beam search is not built"},
    {"audio", Neutral::never, "audio is not built"},
    {"modalities", Neutral::text_modality, "only [\"text\"] is built"},
    {"prediction", Neutral::never, "predicted output is not built"},
    {"web_search_options", Neutral::never, "web search is not built"},
    {"reasoning_effort", Neutral::auto_or_none, "give chat_template_kwargs if the model's template knows it"},
    {"verbosity", Neutral::never, "not built"},
    {"thinking", Neutral::never, "give chat_template_kwargs if the model's template knows it"},
    {"documents", Neutral::empty, "not built"},
    {"chat_template", Neutral::never, "templates are set at start, with --chat-template"},
    {"prompt_logprobs", Neutral::zero, "logprobs of the prompt are not built"},
    {"prompt_embeds", Neutral::never, "not built"},
    {"truncate_prompt_tokens", Neutral::never, "prompts are never cut"},
    {"include_stop_str_in_output", Neutral::false_value, "the stop string is never part of the answer"},
    {"spaces_between_special_tokens", Neutral::true_value, "not built"},
    {"allowed_token_ids", Neutral::never, "give logit_bias"},
    {"bad_words", Neutral::empty, "not built"},
    {"logits_processors", Neutral::empty, "not built"},
    {"typical_p", Neutral::one, "not built"},
    {"tfs_z", Neutral::one, "not built"},
    {"top_a", Neutral::zero, "not built"},
    {"epsilon_cutoff", Neutral::zero, "not built"},
    {"mirostat", Neutral::zero, "not built"},
    {"dry_multiplier", Neutral::zero, "not built"},
    {"xtc_probability", Neutral::zero, "not built"},
    {"dynatemp_range", Neutral::zero, "not built"},
    {"repeat_penalty", Neutral::one, "the field is called repetition_penalty"},
    {"n_predict", Neutral::never, "the field is called max_tokens"},
    {"max_new_tokens", Neutral::never, "the field is called max_tokens"},
    {"stop_sequences", Neutral::empty, "the field is called stop"},
    {"system", Neutral::empty, "give a message of role system"},
    {"lora", Neutral::never, "not built"},
    {"mm_processor_kwargs", Neutral::never, "not built"},
    {"media_io_kwargs", Neutral::never, "not built"},
};

bool is_number(const json& value, double wanted) {
  return value.is_number() && value.get<double>() == wanted;
}

bool is_neutral(const NotBuilt& field, const json& value, const json& object) {
  if (value.is_null()) return true;
  switch (field.neutral) {
    case Neutral::never:
      return false;
    case Neutral::false_value:
      return value.is_boolean() && !value.get<bool>();
    case Neutral::true_value:
      return value.is_boolean() && value.get<bool>();
    case Neutral::empty:
      return ((value.is_array() || value.is_object()) && value.empty()) ||
             (value.is_string() && value.get_ref<const std::string&>().empty());
    case Neutral::zero:
      return is_number(value, 0);
    case Neutral::one:
      return is_number(value, 1);
    case Neutral::text_format:
      return value.is_object() && value.size() == 1 && value.contains("type") && value["type"] == "text";
    case Neutral::text_modality:
      return value == json::array({"text"});
    case Neutral::auto_or_none:
      return value == "auto" || value == "none";
    case Neutral::equals_n:
      return value.is_number_integer() && value == (object.contains("n") ? object["n"] : json(1));
  }
  return false;
}

}  // namespace

std::string show_value(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

const json* FieldReader::find(const char* name) {
  known_.push_back(name);
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void FieldReader::reject(std::string name, std::string message, Errc code) {
  if (!fault_) fault_ = Error{code, name + ": " + message, name};
}

void FieldReader::boolean(const char* name, bool& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return reject(name, "must be true or false, not " + show_value(*value));
  out = value->get<bool>();
}

void FieldReader::number(const char* name, float& out, double low, double high, bool low_open,
                         bool high_open) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return reject(name, "must be a number, not " + show_value(*value));
  const double x = value->get<double>();
  if (!std::isfinite(x) || x < low || x > high || (low_open && x == low) || (high_open && x == high)) {
    std::string range = low_open ? "(" : "[";
    range += json(low).dump() + ", " + json(high).dump() + (high_open ? ")" : "]");
    return reject(name, "must be in " + range + ", not " + show_value(*value));
  }
  out = static_cast<float>(x);
}

std::optional<std::int64_t> FieldReader::integer_in(const char* name, std::int64_t low, std::int64_t high) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool fits =
      value->is_number_integer() &&
      !(value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX));
  if (!value->is_number_integer()) {
    reject(name, "must be a whole number, not " + show_value(*value));
    return std::nullopt;
  }
  if (!fits || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high) {
    reject(name, "must be in [" + std::to_string(low) + ", " + std::to_string(high) + "], not " +
                     show_value(*value));
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

void FieldReader::text(const char* name, std::string& out, std::size_t max_bytes) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return reject(name, "must be a string, not " + show_value(*value));
  const auto& s = value->get_ref<const std::string&>();
  if (s.size() > max_bytes) return reject(name, "is longer than " + std::to_string(max_bytes) + " bytes");
  out = s;
}

Result<std::vector<transport::TokenId>> read_token_ids(const json& array, const std::string& name,
                                                       std::size_t max_count, std::uint32_t vocab) {
  if (!array.is_array()) {
    return fail(Errc::invalid_request, name + ": must be a list of token ids, not " + show_value(array),
                name);
  }
  if (array.size() > max_count) {
    return fail(
        Errc::invalid_request,
        name + ": holds " + std::to_string(array.size()) + " ids, the limit is " + std::to_string(max_count),
        name);
  }
  std::vector<transport::TokenId> ids;
  ids.reserve(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    const json& id = array[i];
    if (!id.is_number_integer() || id < 0 || id >= vocab) {
      return fail(Errc::invalid_request,
                  name + "[" + std::to_string(i) + "]: must be a token id in [0, " + std::to_string(vocab) +
                      "), not " + show_value(id),
                  name);
    }
    ids.push_back(id.get<transport::TokenId>());
  }
  return ids;
}

void FieldReader::token_ids(const char* name, std::vector<transport::TokenId>& out, std::size_t max_count,
                            std::uint32_t vocab) {
  const json* value = find(name);
  if (value == nullptr || fault_) return;
  auto ids = read_token_ids(*value, name, max_count, vocab);
  if (!ids) {
    fault_ = ids.error();
    return;
  }
  out = std::move(*ids);
}

std::vector<std::string> FieldReader::finish() {
  std::vector<std::string> ignored;
  for (const auto& [name, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const auto* field = std::find_if(std::begin(kNotBuilt), std::end(kNotBuilt),
                                     [&](const NotBuilt& f) { return f.name == std::string_view(name); });
    if (field == std::end(kNotBuilt)) {
      if (!value.is_null()) ignored.push_back(name);
    } else if (!is_neutral(*field, value, object_)) {
      reject(name, "would change the answer and is not supported (" + std::string(field->hint) + ")",
             Errc::unsupported);
    }
  }
  return ignored;
}

}  // namespace leadline::coordinator
