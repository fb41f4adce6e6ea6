// parse_messages of completion_request.h: the messages of a chat, checked one by one and brought into the one
// shape that chat templates read (content as one string).

#include <algorithm>

#include "coordinator/http/completion_request.h"
#include "coordinator/http/request_fields.h"

namespace leadline::coordinator {

namespace {

using nlohmann::json;

constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};
constexpr std::string_view kPassedOn[] = {"role", "content", "name", "tool_call_id"};
constexpr std::string_view kNotBuilt[] = {"tool_calls", "function_call", "audio"};

tl::unexpected<Error> fault(const std::string& name, const std::string& message,
                            Errc code = Errc::invalid_request) {
  return fail(code, message, name);
}

// A list of text parts becomes their texts joined by newlines; any other part would be dropped silently, so
// it is refused.
Result<std::string> join_parts(const json& parts, const std::string& name) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part_name = name + "[" + std::to_string(i) + "]";
    const json& part = parts[i];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      return fault(part_name, "must be an object with a type");
    }
    if (part["type"] != "text") {
      return fault(part_name + ".type", "only text parts are supported, not " + show_value(part["type"]),
                   Errc::unsupported);
    }
    if (!part.contains("text") || !part["text"].is_string())
      return fault(part_name + ".text", "must be a string");
    if (i > 0) text += "\n";
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

Result<json> parse_message(const json& message, const std::string& name, std::vector<std::string>& ignored) {
  if (!message.is_object()) return fault(name, "must be an object, not " + show_value(message));
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string() ||
      std::find(std::begin(kRoles), std::end(kRoles), role->get_ref<const std::string&>()) ==
          std::end(kRoles)) {
    return fault(name + ".role", "must be one of system, developer, user, assistant, tool");
  }
  json out = json::object();
  out["role"] = *role == "developer" ? json("system") : *role;  // templates know the older name
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) return fault(name + ".content", "is required");
  if (content->is_string()) {
    out["content"] = *content;
  } else if (content->is_array() && !content->empty()) {
    auto text = join_parts(*content, name + ".content");
    if (!text) return tl::unexpected(text.error());
    out["content"] = std::move(*text);
  } else {
    return fault(name + ".content", "must be a string or a list of parts, not " + show_value(*content));
  }
  for (const auto& [key, value] : message.items()) {
    const auto is_key = [&key = key](std::string_view other) { return other == key; };
    if (std::any_of(std::begin(kNotBuilt), std::end(kNotBuilt), is_key)) {
      if (!value.is_null() && !value.empty())
        return fault(name + "." + key, "is not supported", Errc::unsupported);
    } else if (std::none_of(std::begin(kPassedOn), std::end(kPassedOn), is_key)) {
      if (!value.is_null()) ignored.push_back("messages[]." + key);
    } else if ((key == "name" || key == "tool_call_id") && !value.is_null()) {
      if (!value.is_string()) return fault(name + "." + key, "must be a string, not " + show_value(value));
      out[key] = value;
    }
  }
  return out;
}

}  // namespace

Result<json> parse_messages(const json& messages, const Limits& limits, std::vector<std::string>& ignored) {
  if (!messages.is_array()) return fault("messages", "must be a list, not " + show_value(messages));
  if (messages.empty()) return fault("messages", "must not be empty");
  if (messages.size() > limits.messages) {
    return fault("messages", "holds more than " + std::to_string(limits.messages) + " messages");
  }
  json out = json::array();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto message = parse_message(messages[i], "messages[" + std::to_string(i) + "]", ignored);
    if (!message) return tl::unexpected(message.error());
    out.push_back(std::move(*message));
  }
  std::sort(ignored.begin(), ignored.end());
  ignored.erase(std::unique(ignored.begin(), ignored.end()), ignored.end());
  return out;
}

}  // namespace leadline::coordinator
