#include "coordinator/http/system_prefix.h"

#include <algorithm>
#include <boost/algorithm/string/trim.hpp>
#include <nlohmann/json.hpp>

namespace leadline::coordinator {
namespace {

using nlohmann::json;

constexpr std::string_view kUserText = "leadline-user-text";  // ends the prefix where a user's turn is needed

// Whether `text` stands at the start of `rendered` at least to the end of `last`, the last system message.
bool begins_with_all(const std::string& rendered, const std::string& text, const json& last) {
  const auto [end, unused] = std::mismatch(text.begin(), text.end(), rendered.begin(), rendered.end());
  const std::string_view shared(text.data(), static_cast<std::size_t>(end - text.begin()));
  return shared.find(boost::algorithm::trim_copy(last.at("content").get<std::string>())) !=
         std::string_view::npos;
}

}  // namespace

bool pins_system_prompt(const CompletionRequest& request, std::string_view default_method) {
  if (request.endpoint != Endpoint::chat || !request.pin_system) return false;
  const std::string_view method = request.kv.compression.empty() ? default_method : request.kv.compression;
  return method != "exact" && method != "full";
}

std::string render_system_prefix(const CompletionRequest& request, const ChatTemplate& chat_template,
                                 const std::string& rendered, std::int64_t now_unix_s) {
  json leading = json::array();
  for (const json& message : request.messages) {
    if (message.at("role") != "system") break;
    leading.push_back(message);
  }
  if (leading.empty()) return {};
  const json last = leading.back();
  ChatTemplateOptions options;
  options.add_generation_prompt = false;
  options.now_unix_s = now_unix_s;
  auto alone = chat_template.render(leading, request.template_arguments, options);
  if (alone && begins_with_all(rendered, *alone, last)) return std::move(*alone);
  leading.push_back({{"role", "user"}, {"content", kUserText}});
  auto before_user = chat_template.render(leading, request.template_arguments, options);
  if (!before_user) return {};
  const std::size_t end = before_user->rfind(kUserText);
  if (end == std::string::npos) return {};
  before_user->resize(end);
  return begins_with_all(rendered, *before_user, last) ? std::move(*before_user) : std::string();
}

std::uint32_t system_prefix_tokens(const Tokenizer& tokenizer, std::string_view text,
                                   std::span<const transport::TokenId> prompt) {
  if (text.empty()) return 0;
  const auto ids = tokenizer.encode(text, false, prompt.size() + text.size());
  if (!ids) return 0;
  const auto [end, unused] = std::mismatch(ids->begin(), ids->end(), prompt.begin(), prompt.end());
  return static_cast<std::uint32_t>(end - ids->begin());
}

}  // namespace leadline::coordinator
