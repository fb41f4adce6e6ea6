#pragma once
// FakeChatTemplate: "<bos>" then "<role>content<eot>" per message, "<assistant>" at the end. Thread:
// immutable.

#include <nlohmann/json.hpp>

#include "coordinator/text/chat_template.h"

namespace leadline::testing {

class FakeChatTemplate final : public coordinator::ChatTemplate {
 public:
  coordinator::Result<std::string> render(const nlohmann::json& messages, const nlohmann::json& extra,
                                          const coordinator::ChatTemplateOptions& options) const override {
    return render(nlohmann::ordered_json(messages), nlohmann::ordered_json(extra), options);
  }
  coordinator::Result<std::string> render(const nlohmann::ordered_json& messages,
                                          const nlohmann::ordered_json&,
                                          const coordinator::ChatTemplateOptions& options) const override {
    std::string text = "<bos>";
    for (const auto& message : messages) {
      if (message["content"] == "raise")
        return coordinator::fail(coordinator::Errc::invalid_request, "the template says no");
      text +=
          "<" + message["role"].get<std::string>() + ">" + message["content"].get<std::string>() + "<eot>";
    }
    if (options.add_generation_prompt) text += "<assistant>";
    return text;
  }
};

}  // namespace leadline::testing
