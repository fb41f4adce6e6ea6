#include "coordinator/text/chat_template.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/interpreter.h"
#include "coordinator/text/jinja/json_value.h"
#include "coordinator/text/jinja/parser.h"
#include "coordinator/text/jinja/template_error.h"
#include "coordinator/text/jinja/text_cut.h"

namespace leadline::coordinator {
namespace {

using SpecialTokens = std::vector<std::pair<std::string, std::string>>;  // variable and text

constexpr std::size_t kMaxConfigBytes = 64 << 20;

tl::unexpected<Error> load_failure(const jinja::TemplateError& error) {
  const std::string where =
      error.line > 0 ? "chat template, line " + std::to_string(error.line) + ": " : "chat template: ";
  const bool refused = error.kind == jinja::ErrorKind::unsupported || error.kind == jinja::ErrorKind::limit;
  return fail(refused ? Errc::unsupported : Errc::malformed_file, where + error.message);
}

tl::unexpected<Error> render_failure(const jinja::TemplateError& error, int line) {
  const std::string where =
      " (chat template, line " + std::to_string(error.line > 0 ? error.line : line) + ")";
  switch (error.kind) {
    case jinja::ErrorKind::raised:
      return fail(Errc::invalid_request, error.message, "messages");
    case jinja::ErrorKind::limit:
      return fail(Errc::too_large, error.message + where, "messages");
    case jinja::ErrorKind::unsupported:
      return fail(Errc::unsupported, error.message + where, "messages");
    case jinja::ErrorKind::syntax:
    case jinja::ErrorKind::runtime:
      break;
  }
  return fail(Errc::invalid_request,
              "the model's chat template does not fit the messages: " + error.message + where, "messages");
}

// The text that a continued last message ends with: its content, or the last text part of it. Null when there
// is none.
template <typename Json>
const std::string* final_text(const Json& messages) {
  if (messages.empty() || !messages.back().is_object() || !messages.back().contains("content"))
    return nullptr;
  const auto& content = messages.back()["content"];
  if (content.is_string()) return &content.template get_ref<const std::string&>();
  if (!content.is_array()) return nullptr;
  for (auto part = content.rbegin(); part != content.rend(); ++part) {
    if (part->is_object() && part->contains("text") && (*part)["text"].is_string()) {
      return &(*part)["text"].template get_ref<const std::string&>();
    }
  }
  return nullptr;
}

// Cuts what the template adds after the last message's text, so that the model goes on with it (transformers'
// rule).
Result<std::string> cut_after(std::string rendered, const std::string* text) {
  if (text == nullptr) {
    return fail(Errc::invalid_request, "continue_final_message needs a last message with text", "messages");
  }
  const std::string_view bare = jinja::stripped(*text, true, true),
                         without_lead = jinja::stripped(*text, true, false);
  const std::size_t at = rendered.rfind(bare);
  if (at == std::string::npos) {
    return fail(
        Errc::invalid_request,
        "continue_final_message: the last message does not appear in the chat after the chat template",
        "messages");
  }
  const bool kept = rendered.compare(at, without_lead.size(), *text) == 0;
  rendered.resize(at + (kept ? without_lead.size() : bare.size()));
  return rendered;
}

class JinjaChatTemplate final : public ChatTemplate {
 public:
  JinjaChatTemplate(jinja::Block block, std::optional<jinja::Block> with_tools, SpecialTokens tokens)
      : block_(std::move(block)), with_tools_(std::move(with_tools)), tokens_(std::move(tokens)) {}

  Result<std::string> render(const nlohmann::json& messages, const nlohmann::json& extra,
                             const ChatTemplateOptions& options) const override {
    return render_json(messages, extra, options);
  }
  Result<std::string> render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& extra,
                             const ChatTemplateOptions& options) const override {
    return render_json(messages, extra, options);
  }

 private:
  template <typename Json>
  Result<std::string> render_json(const Json& messages, const Json& extra,
                                  const ChatTemplateOptions& options) const {
    if (!messages.is_array()) return fail(Errc::invalid_request, "messages must be an array", "messages");
    if (!extra.is_null() && !extra.is_object()) {
      return fail(Errc::invalid_request, "the chat template's variables must be an object",
                  "chat_template_kwargs");
    }
    for (const char* name : {"messages", "add_generation_prompt"}) {
      if (extra.is_object() && extra.contains(name)) {
        return fail(Errc::invalid_request,
                    std::string("the variable '") + name + "' cannot be given this way",
                    "chat_template_kwargs");
      }
    }
    if (options.continue_final_message && options.add_generation_prompt) {
      return fail(Errc::invalid_request,
                  "continue_final_message and add_generation_prompt exclude each other",
                  "continue_final_message");
    }
    jinja::Interpreter interpreter(options.now_unix_s);
    try {
      for (const auto& [name, text] : tokens_) interpreter.set_variable(name, jinja::Value::text(text));
      interpreter.set_variable("tools", jinja::Value::none());
      interpreter.set_variable("documents", jinja::Value::none());
      interpreter.set_variable("messages", jinja::json_value(interpreter.runtime(), messages));
      interpreter.set_variable("add_generation_prompt", jinja::Value::boolean(options.add_generation_prompt));
      bool has_tools = false;
      if (extra.is_object()) {
        for (auto it = extra.begin(); it != extra.end(); ++it) {
          has_tools = has_tools || (it.key() == "tools" && !it.value().is_null());
          interpreter.set_variable(it.key(), jinja::json_value(interpreter.runtime(), it.value()));
        }
      }
      std::string rendered = interpreter.run(has_tools && with_tools_ ? *with_tools_ : block_);
      if (!options.continue_final_message) return rendered;
      return cut_after(std::move(rendered), final_text(messages));
    } catch (const jinja::TemplateError& error) {
      return render_failure(error, interpreter.line());
    }
  }

  jinja::Block block_;
  std::optional<jinja::Block> with_tools_;  // "tool_use" of a list of named templates
  SpecialTokens tokens_;
};

struct Sources {
  std::string main;
  std::optional<std::string> with_tools;
};

Result<std::unique_ptr<ChatTemplate>> build(const Sources& sources, SpecialTokens tokens) {
  try {
    jinja::Block main = jinja::parse(sources.main);
    std::optional<jinja::Block> with_tools;
    if (sources.with_tools) with_tools = jinja::parse(*sources.with_tools);
    return std::make_unique<JinjaChatTemplate>(std::move(main), std::move(with_tools), std::move(tokens));
  } catch (const jinja::TemplateError& error) {
    return load_failure(error);
  }
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, "cannot open " + path.string());
  std::string text;
  std::array<char, 65536> buffer;
  while (in.read(buffer.data(), buffer.size()) || in.gcount() > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > limit) {
      return fail(Errc::malformed_file, path.string() + " has more than " + std::to_string(limit) + " bytes");
    }
  }
  if (in.bad()) return fail(Errc::io, "cannot read " + path.string());
  return text;
}

// The JSON object of a file; an empty one when there is no such file.
Result<nlohmann::json> read_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return nlohmann::json::object();
  auto text = read_file(path, kMaxConfigBytes);
  if (!text) return tl::unexpected(text.error());
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return fail(Errc::malformed_file, path.string() + " is not a JSON object");
  return json;
}

// A token is written as its text, or as an object with it.
std::optional<std::string> token_text(const nlohmann::json& config, const std::string& key) {
  const auto it = config.find(key);
  if (it == config.end()) return std::nullopt;
  if (it->is_string()) return it->get<std::string>();
  if (it->is_object() && it->contains("content") && (*it)["content"].is_string())
    return (*it)["content"].get<std::string>();
  return std::nullopt;
}

SpecialTokens special_tokens(const nlohmann::json& config, const nlohmann::json& older) {
  SpecialTokens tokens;
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    auto text = token_text(config, key);
    if (!text && !config.contains(key)) text = token_text(older, key);
    if (text && !text->empty()) tokens.emplace_back(key, std::move(*text));
  }
  return tokens;
}

// chat_template: a string, or a list of {"name", "template"}. Nothing when absent.
Result<std::optional<Sources>> configured(const nlohmann::json& config, const std::string& file) {
  const auto it = config.find("chat_template");
  if (it == config.end() || it->is_null()) return std::optional<Sources>();
  if (it->is_string()) return std::optional<Sources>(Sources{it->get<std::string>(), std::nullopt});
  std::optional<std::string> main;
  Sources sources;
  if (!it->is_array())
    return fail(Errc::malformed_file, file + ": chat_template is neither a string nor a list");
  for (const auto& entry : *it) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !entry.contains("template") || !entry["template"].is_string()) {
      return fail(Errc::malformed_file, file + ": an entry of chat_template lacks its name or template");
    }
    if (entry["name"] == "default") main = entry["template"].get<std::string>();
    if (entry["name"] == "tool_use") sources.with_tools = entry["template"].get<std::string>();
  }
  if (!main) return fail(Errc::malformed_file, file + ": chat_template has no entry named 'default'");
  sources.main = std::move(*main);
  return std::optional<Sources>(std::move(sources));
}

}  // namespace

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::parse(std::string_view source, std::string bos_token,
                                                          std::string eos_token) {
  SpecialTokens tokens;
  if (!bos_token.empty()) tokens.emplace_back("bos_token", std::move(bos_token));
  if (!eos_token.empty()) tokens.emplace_back("eos_token", std::move(eos_token));
  return build({std::string(source), std::nullopt}, std::move(tokens));
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::load(const std::string& model_directory,
                                                         const std::string& override_file) {
  const std::filesystem::path directory(model_directory);
  const auto config = read_object(directory / "tokenizer_config.json");
  if (!config) return tl::unexpected(config.error());
  const auto older = read_object(directory / "special_tokens_map.json");
  if (!older) return tl::unexpected(older.error());
  SpecialTokens tokens = special_tokens(*config, *older);

  const std::filesystem::path own = directory / "chat_template.jinja";
  if (!override_file.empty() || std::filesystem::exists(own)) {
    auto text =
        read_file(override_file.empty() ? own : std::filesystem::path(override_file), jinja::kMaxSourceBytes);
    if (!text) return tl::unexpected(text.error());
    return build({std::move(*text), std::nullopt}, std::move(tokens));
  }
  auto sources = configured(*config, "tokenizer_config.json");
  if (!sources) return tl::unexpected(sources.error());
  if (!*sources) {
    const auto separate = read_object(directory / "chat_template.json");
    if (!separate) return tl::unexpected(separate.error());
    sources = configured(*separate, "chat_template.json");
    if (!sources) return tl::unexpected(sources.error());
  }
  if (!*sources)
    return fail(Errc::not_found, "the checkpoint in " + model_directory + " has no chat template");
  return build(**sources, std::move(tokens));
}

}  // namespace leadline::coordinator
