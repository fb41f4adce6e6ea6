#include "coordinator/http/prompt_builder.h"

#include <nlohmann/json.hpp>

namespace leadline::coordinator {

namespace {

// A key that grows message by message: every prefix of the conversation has one, computed in one pass.
class RunningKey {
 public:
  void add(const nlohmann::json& message) {
    const std::string text = message.dump();
    first_ = mix(first_, std::hash<std::string>{}(text));
    second_ = mix(second_, std::hash<std::string>{}(text + "|"));
    ++count_;
  }
  std::string value() const {
    return "t" + std::to_string(count_) + "-" + std::to_string(first_) + "-" + std::to_string(second_);
  }

 private:
  static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    return (a ^ b) * 0x9E3779B97F4A7C15ULL + (a >> 31);
  }
  std::uint64_t first_ = 1, second_ = 2;
  std::size_t count_ = 0;
};

tl::unexpected<Error> too_long(const CompletionRequest& request, std::size_t tokens,
                               std::uint32_t max_model_len) {
  return fail(Errc::invalid_request,
              std::string(request.prompt_field()) + ": this model's context is " +
                  std::to_string(max_model_len) + " tokens, prompt and answer; the prompt has " +
                  (tokens == 0 ? "more" : std::to_string(tokens)),
              request.prompt_field());
}

}  // namespace

std::vector<std::string> earlier_turn_keys(const nlohmann::json& messages) {
  std::vector<std::string> keys;
  RunningKey key;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (i > 0 && messages[i].at("role") == "assistant") keys.push_back(key.value());
    key.add(messages[i]);
  }
  return {keys.rbegin(), keys.rend()};
}

std::string session_key(const nlohmann::json& messages) {
  RunningKey key;
  for (const auto& message : messages) key.add(message);
  return key.value();
}

Result<std::string> render_chat(const CompletionRequest& request, const ChatTemplate* chat_template,
                                std::int64_t now_unix_s) {
  if (chat_template == nullptr) {
    return fail(Errc::unsupported,
                "messages: this model has no chat template; start the server with --chat-template",
                "messages");
  }
  ChatTemplateOptions options;
  options.add_generation_prompt = request.add_generation_prompt;
  options.continue_final_message = request.continue_final_message;
  options.now_unix_s = now_unix_s;
  auto text = chat_template->render(request.messages, request.template_arguments, options);
  if (!text && text.error().param.empty()) text.error().param = "messages";
  return text;
}

Splice find_splice(SessionTable& sessions, const std::string& tenant, const nlohmann::json& messages,
                   const std::string& rendered, std::uint64_t now_ms) {
  for (const std::string& key : earlier_turn_keys(messages)) {
    const SessionTurn* turn = sessions.find(tenant, key, now_ms);
    if (turn == nullptr || turn->tokens.empty() || turn->text.size() > rendered.size()) continue;
    if (rendered.compare(0, turn->text.size(), turn->text) != 0) continue;
    return {turn->text.size(), turn->tokens};
  }
  return {};
}

Result<BuiltPrompts> encode_prompts(const CompletionRequest& request, const Tokenizer& tokenizer,
                                    std::string rendered, const Splice& splice, std::uint32_t max_model_len) {
  BuiltPrompts out;
  const auto encode = [&](std::string_view text, bool specials) -> Result<std::vector<transport::TokenId>> {
    auto ids = tokenizer.encode(text, specials, max_model_len);
    if (!ids && ids.error().code == Errc::too_large) return too_long(request, 0, max_model_len);
    return ids;
  };
  if (request.endpoint == Endpoint::chat) {
    out.rendered = std::move(rendered);
    if (!splice.tokens.empty()) {
      auto rest = encode(std::string_view(out.rendered).substr(splice.text_bytes), false);
      if (!rest) return tl::unexpected(rest.error());
      if (tokenizer.is_special(splice.tokens.back()) || rest->empty() ||
          tokenizer.is_special(rest->front())) {
        out.tokens.push_back(splice.tokens);
        out.tokens.back().insert(out.tokens.back().end(), rest->begin(), rest->end());
        out.spliced_tokens = splice.tokens.size();
      }
    }
    if (out.tokens.empty()) {
      auto ids = encode(out.rendered, false);  // the template writes bos itself
      if (!ids) return tl::unexpected(ids.error());
      out.tokens.push_back(std::move(*ids));
    }
  }
  for (const Prompt& prompt : request.prompts) {
    if (prompt.is_tokens) {
      out.tokens.push_back(prompt.tokens);
      continue;
    }
    auto ids = encode(prompt.text, request.add_special_tokens);
    if (!ids) return tl::unexpected(ids.error());
    out.tokens.push_back(std::move(*ids));
  }
  for (const auto& ids : out.tokens) {
    if (ids.empty()) {
      return fail(Errc::invalid_request, std::string(request.prompt_field()) + ": the prompt has no tokens",
                  request.prompt_field());
    }
    auto fits = fit_max_tokens(request, ids.size(), max_model_len);
    if (!fits) return tl::unexpected(fits.error());
  }
  return out;
}

Result<std::uint32_t> fit_max_tokens(const CompletionRequest& request, std::size_t prompt_tokens,
                                     std::uint32_t max_model_len) {
  if (prompt_tokens >= max_model_len) return too_long(request, prompt_tokens, max_model_len);
  const auto room = static_cast<std::uint32_t>(max_model_len - prompt_tokens);
  if (!request.max_tokens) return room;
  if (*request.max_tokens > room) {
    return fail(Errc::invalid_request,
                "max_tokens: " + std::to_string(*request.max_tokens) + " and a prompt of " +
                    std::to_string(prompt_tokens) + " tokens are more than this model's context of " +
                    std::to_string(max_model_len),
                "max_tokens");
  }
  return *request.max_tokens;
}

}  // namespace leadline::coordinator
