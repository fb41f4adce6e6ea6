#pragma once
// ChatTemplate: renders a checkpoint's own Jinja template over messages, the subset that the supported families use. Not a
// general Jinja, not Python: no imports, no attribute that is not listed, bounded steps and output.
// Thread: immutable after parse; render from any thread.

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
  // bos/eos: the token texts that the template may use. unsupported: names the construct and its line.
  static Result<std::unique_ptr<ChatTemplate>> parse(std::string_view source, std::string bos_token, std::string eos_token);
  // chat_template of tokenizer_config.json (string or list with "default"), or chat_template.jinja; `override_file` wins.
  // not_found when the checkpoint has none.
  static Result<std::unique_ptr<ChatTemplate>> load(const std::string& model_directory, const std::string& override_file);
  virtual ~ChatTemplate() = default;

  // messages: the request's array; extra: further variables (tools, documents, chat_template_kwargs) or null.
  // invalid_request with the template's own words on raise_exception, too_large past limits.
  virtual Result<std::string> render(const nlohmann::json& messages, const nlohmann::json& extra,
                                     const ChatTemplateOptions& options) const = 0;
};

}  // namespace leadline::coordinator
