#pragma once
// ChatTemplate: renders a checkpoint's own Jinja template over messages, the subset that the supported
// families use. Not a general Jinja, not Python: no imports, no attribute that is not listed, bounded steps
// and output. Thread: immutable after parse; render from any thread.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "coordinator/errc.h"

namespace leadline::coordinator {

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  std::int64_t now_unix_s = 0;  // what strftime_now sees
};

class ChatTemplate {
 public:
  // bos/eos: the token texts that the template may use; "" leaves the name undefined, as transformers does.
  // unsupported: names the construct and its line. malformed_file: not a template, with the line.
  static Result<std::unique_ptr<ChatTemplate>> parse(std::string_view source, std::string bos_token,
                                                     std::string eos_token);
  // In this order: `override_file` (Jinja text; "" for none), chat_template.jinja, chat_template of
  // tokenizer_config.json (a string, or a list of named ones: "default", and "tool_use" where the request has
  // tools), chat_template.json. Token texts come from tokenizer_config.json. not_found when the checkpoint
  // has no template, io and malformed_file name the file.
  static Result<std::unique_ptr<ChatTemplate>> load(const std::string& model_directory,
                                                    const std::string& override_file);
  virtual ~ChatTemplate() = default;

  // messages: the request's array; extra: an object of further variables (tools, documents,
  // chat_template_kwargs) or null. tools and documents are none where extra lacks them. The text is what
  // transformers' apply_chat_template gives. invalid_request: the template's own words on raise_exception, or
  // where it does not fit the messages (an undefined value, a wrong type); too_large past limits. All with
  // param "messages".
  virtual Result<std::string> render(const nlohmann::json& messages, const nlohmann::json& extra,
                                     const ChatTemplateOptions& options) const = 0;
  // The same with keys in the order of the request, which tojson of a tool's schema shows: prefer it.
  virtual Result<std::string> render(const nlohmann::ordered_json& messages,
                                     const nlohmann::ordered_json& extra,
                                     const ChatTemplateOptions& options) const = 0;
};

}  // namespace leadline::coordinator
