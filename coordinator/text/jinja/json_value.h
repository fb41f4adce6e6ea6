#pragma once
// JSON -> Value: how a request's messages and extra variables reach a template. Texts are borrowed from the
// JSON. Thread: one rendering.

#include <nlohmann/json.hpp>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

// Throws TemplateError (limit) for nesting deeper than kMaxValueDepth or an integer of more than 63 bits.
// REQUIRES: `json` outlives the rendering. Json: nlohmann's json (keys sorted) or ordered_json (as sent).
template <typename Json>
Value json_value(Runtime& runtime, const Json& json, int depth = 0) {
  if (depth > kMaxValueDepth) throw_error(ErrorKind::limit, "the messages are nested too deeply");
  runtime.charge(1);
  switch (json.type()) {
    case nlohmann::detail::value_t::boolean:
      return Value::boolean(json.template get<bool>());
    case nlohmann::detail::value_t::number_integer:
      return Value::integer(json.template get<std::int64_t>());
    case nlohmann::detail::value_t::number_unsigned: {
      const auto number = json.template get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(INT64_MAX))
        throw_error(ErrorKind::limit, "an integer leaves 64 bits");
      return Value::integer(static_cast<std::int64_t>(number));
    }
    case nlohmann::detail::value_t::number_float:
      return Value::real(json.template get<double>());
    case nlohmann::detail::value_t::string:
      return Value::text(json.template get_ref<const std::string&>());
    case nlohmann::detail::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(json_value(runtime, item, depth + 1));
      return runtime.list(std::move(items));
    }
    case nlohmann::detail::value_t::object: {
      auto* dict = runtime.make<Dict>();
      runtime.charge_memory(json.size() * 2 * sizeof(Value));
      dict->entries.reserve(json.size());
      for (auto it = json.begin(); it != json.end(); ++it) {
        dict->entries.emplace_back(Value::text(it.key()), json_value(runtime, it.value(), depth + 1));
      }
      return Value::of(dict);
    }
    case nlohmann::detail::value_t::null:
    case nlohmann::detail::value_t::binary:
    case nlohmann::detail::value_t::discarded:
      break;
  }
  return Value::none();
}

}  // namespace leadline::coordinator::jinja
