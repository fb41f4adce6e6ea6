#include "coordinator/http/json_guard.h"

#include <nlohmann/json.hpp>

namespace leadline::coordinator {

namespace {

// Returns the index after the string that opens at `i`, or text.size() when it does not end.
std::size_t skip_string(std::string_view text, std::size_t i) {
  for (++i; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

}  // namespace

Result<void> check_json_shape(std::string_view text, const Limits& limits) {
  std::size_t depth = 0;
  std::size_t values = 1;  // every comma, colon and opening bracket begins at most one further value
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"') {
      i = skip_string(text, i);
      continue;
    }
    if (c == '[' || c == '{') {
      ++values;
      if (++depth > limits.json_depth) {
        return fail(Errc::invalid_request,
                    "the JSON body is nested deeper than " + std::to_string(limits.json_depth) + " levels");
      }
    } else if (c == ']' || c == '}') {
      if (depth == 0)
        return fail(Errc::invalid_request, "the JSON body closes a bracket that it never opened");
      --depth;
    } else if (c == ',') {
      ++values;
    }
    if (values > limits.json_values) {
      return fail(Errc::invalid_request,
                  "the JSON body holds more than " + std::to_string(limits.json_values) + " values");
    }
    ++i;
  }
  return {};
}

Result<nlohmann::json> parse_json_object(std::string_view text, const Limits& limits) {
  if (text.empty()) return fail(Errc::invalid_request, "the body is empty: a JSON object is needed");
  if (auto shape = check_json_shape(text, limits); !shape) return tl::unexpected(shape.error());
  try {
    nlohmann::json value = nlohmann::json::parse(text.begin(), text.end());
    if (!value.is_object()) return fail(Errc::invalid_request, "the body must be a JSON object");
    return value;
  } catch (const nlohmann::json::parse_error& e) {
    return fail(Errc::invalid_request, "the body is not valid JSON near byte " + std::to_string(e.byte));
  } catch (const nlohmann::json::exception&) {  // a number beyond double's range
    return fail(Errc::invalid_request, "the body holds a number that is out of range");
  }
}

}  // namespace leadline::coordinator
