// What jinja2 rendered (tests/golden/chat_templates, made by make_chat_templates.py), rendered again by ours.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "coordinator/text/chat_template.h"

namespace leadline::coordinator {
namespace {

using nlohmann::ordered_json;

const std::string kFolder = std::string(LEADLINE_SOURCE_DIR) + "/tests/golden/chat_templates/";

std::string contents(const std::string& name) {
  std::ifstream in(kFolder + name, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << name;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<ordered_json> lines(const std::string& name) {
  std::istringstream in(contents(name));
  std::vector<ordered_json> list;
  for (std::string line; std::getline(in, line);) list.push_back(ordered_json::parse(line));
  return list;
}

// "" when `got` is what the golden says, else what differs.
std::string difference(const ordered_json& golden, const Result<std::string>& got) {
  const std::string shown = got ? "text " + *got : "error " + got.error().message;
  if (golden.contains("text")) {
    return got && *got == golden["text"]
               ? ""
               : "wanted text " + golden["text"].get<std::string>() + "\n   got " + shown;
  }
  if (golden.contains("raised")) {
    const bool same =
        !got && got.error().code == Errc::invalid_request && got.error().message == golden["raised"];
    return same ? ""
                : "wanted the template's error " + golden["raised"].get<std::string>() + "\n   got " + shown;
  }
  return got ? "wanted a failure (" + golden["failed"].get<std::string>() + ")\n   got " + shown : "";
}

TEST(ChatTemplateGolden, Conversations) {
  const ordered_json inputs = ordered_json::parse(contents("conversations.json"));
  std::map<std::string, std::unique_ptr<ChatTemplate>> templates;
  const auto cases = lines("rendered.jsonl");
  EXPECT_GE(cases.size(), 600u);
  for (const ordered_json& golden : cases) {
    const auto name = golden["template"].get<std::string>();
    auto& made = templates[name];
    if (!made) {
      auto parsed =
          ChatTemplate::parse(contents("templates/" + name + ".jinja"), inputs["bos"], inputs["eos"]);
      ASSERT_TRUE(parsed) << name << ": " << parsed.error().message;
      made = std::move(*parsed);
    }
    const ordered_json& conversation = inputs["conversations"][golden["conversation"].get<std::string>()];
    ChatTemplateOptions options;
    options.add_generation_prompt = golden["prompt"];
    options.now_unix_s = inputs["now"];
    const auto got = made->render(conversation["messages"], conversation["extra"], options);
    EXPECT_EQ(difference(golden, got), "") << name << ", " << golden["conversation"];
  }
  EXPECT_GE(templates.size(), 15u);
}

TEST(ChatTemplateGolden, Expressions) {
  const ordered_json inputs = ordered_json::parse(contents("conversations.json"));
  const auto cases = lines("expressions.jsonl");
  EXPECT_GE(cases.size(), 200u);
  for (const ordered_json& golden : cases) {
    const auto source = golden["source"].get<std::string>();
    const auto parsed = ChatTemplate::parse(source, "", "");
    ChatTemplateOptions options;
    options.now_unix_s = inputs["now"];
    const Result<std::string> got =
        parsed ? (*parsed)->render(ordered_json::array(), inputs["variables"], options)
               : Result<std::string>(tl::unexpected(parsed.error()));
    EXPECT_EQ(difference(golden, got), "") << source;
  }
}

}  // namespace
}  // namespace leadline::coordinator
