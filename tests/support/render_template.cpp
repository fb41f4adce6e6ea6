// render_template: a line of JSON in, a line of JSON out, for the scripts that compare our chat templates
// with jinja2. In:  {"template": "...", "messages": [...], "extra": {...}, "add_generation_prompt": true,
// "now": 0, "bos": "", "eos": ""} Out: {"text": "..."} or {"error": "...", "code": n}
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/text/chat_template.h"

namespace {

using leadline::coordinator::ChatTemplate;
using leadline::coordinator::ChatTemplateOptions;
using leadline::coordinator::Error;
using nlohmann::ordered_json;

ordered_json failed(const Error& error) {
  return {{"error", error.message}, {"code", static_cast<int>(error.code)}};
}

ordered_json answer(const ordered_json& request) {
  const auto chat = ChatTemplate::parse(request.at("template").get<std::string>(), request.value("bos", ""),
                                        request.value("eos", ""));
  if (!chat) return failed(chat.error());
  ChatTemplateOptions options;
  options.add_generation_prompt = request.value("add_generation_prompt", false);
  options.continue_final_message = request.value("continue_final_message", false);
  options.now_unix_s = request.value("now", std::int64_t{0});
  const auto text = (*chat)->render(request.at("messages"), request.value("extra", ordered_json()), options);
  if (!text) return failed(text.error());
  return {{"text", *text}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout
        << answer(ordered_json::parse(line)).dump(-1, ' ', false, ordered_json::error_handler_t::replace)
        << "\n"
        << std::flush;
  }
}
