#include "coordinator/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace leadline::coordinator {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using ::testing::HasSubstr;

const std::string kReference = std::string(LEADLINE_SOURCE_DIR) + "/models/reference";

json chat() {
  return json::parse(
      R"([{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi\nthere"}])");
}

Result<std::string> render(std::string_view source, const json& messages = json::array(),
                           const json& extra = nullptr, ChatTemplateOptions options = {}) {
  const auto parsed = ChatTemplate::parse(source, "<s>", "</s>");
  if (!parsed) return tl::unexpected(parsed.error());
  return (*parsed)->render(messages, extra, options);
}

TEST(ChatTemplate, RendersTheReferenceModelsOwn) {
  const auto loaded = ChatTemplate::load(kReference, "");
  ASSERT_TRUE(loaded) << loaded.error().message;
  const std::string turns =
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHi\nthere<|eot_id|>";
  const auto text = (*loaded)->render(chat(), json(), {});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, turns + "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ((*loaded)->render(chat(), json(), {.add_generation_prompt = false}), turns);
}

TEST(ChatTemplate, ContinuesTheFinalMessage) {
  const auto loaded = ChatTemplate::load(kReference, "");
  ASSERT_TRUE(loaded);
  json messages = chat();
  messages.push_back({{"role", "assistant"}, {"content", "The answer is "}});
  const ChatTemplateOptions options{.add_generation_prompt = false, .continue_final_message = true};
  EXPECT_THAT((*loaded)->render(messages, json(), options).value(), ::testing::EndsWith("\n\nThe answer is"));
  const auto both =
      (*loaded)->render(messages, json(), {.add_generation_prompt = true, .continue_final_message = true});
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code, Errc::invalid_request);
}

TEST(ChatTemplate, ErrorsNameWhatAndWhere) {
  const auto refused = ChatTemplate::parse("a\n{% include 'x' %}", "", "");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_EQ(refused.error().message, "chat template, line 2: the tag 'include' is not supported");
  EXPECT_THAT(ChatTemplate::parse("{{ x | urlize }}", "", "").error().message,
              HasSubstr("the filter 'urlize'"));
  const auto broken = ChatTemplate::parse("\n\n{% if x %}", "", "");
  EXPECT_EQ(broken.error().code, Errc::malformed_file);
  EXPECT_THAT(broken.error().message, HasSubstr("line 3"));

  const auto raised = render("{{ raise_exception('Roles must alternate') }}");
  ASSERT_FALSE(raised);
  EXPECT_EQ(raised.error().code, Errc::invalid_request);
  EXPECT_EQ(raised.error().message, "Roles must alternate");
  EXPECT_EQ(raised.error().param, "messages");
  const auto undefined = render("\n{{ messages[0].content }}");
  EXPECT_EQ(undefined.error().code, Errc::invalid_request);
  EXPECT_THAT(undefined.error().message, HasSubstr("list object has no element 0 (chat template, line 2)"));
}

TEST(ChatTemplate, VariablesReachTheTemplate) {
  EXPECT_EQ(render("{{ bos_token }}{{ eos_token }}{{ tools }}{{ unk_token }}").value(), "<s></s>None");
  EXPECT_EQ(render("{{ enable_thinking }} {{ tools|tojson }}", json::array(),
                   json::parse(R"({"enable_thinking": false, "tools": [{"b": 1, "a": "<é>"}]})"))
                .value(),
            "False [{\"a\": \"<é>\", \"b\": 1}]");
  EXPECT_EQ(render("{{ messages }}", json::array(), json::parse(R"({"messages": []})")).error().param,
            "chat_template_kwargs");
  ChatTemplateOptions options;
  options.now_unix_s = 1'721'952'000;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", json::array(), nullptr, options).value(), "26 Jul 2024");
}

TEST(ChatTemplate, OrderedJsonKeepsItsOrder) {
  const auto parsed = ChatTemplate::parse("{{ tools | tojson }}", "", "");
  const auto text =
      (*parsed)->render(ordered_json::array(), ordered_json::parse(R"({"tools": [{"b": 1, "a": 2}]})"), {});
  EXPECT_EQ(text.value(), R"([{"b": 1, "a": 2}])");
}

// Each is cheap to write and dear to run: it must end with a limit, quickly, and without much memory.
TEST(ChatTemplate, EveryCostIsBounded) {
  const std::vector<std::string> sources = {
      "{% for a in range(100000) %}{% for b in range(100000) %}{{ b }}{% endfor %}{% endfor %}",
      "{{ 'x' * 10000000000 }}",
      "{{ [0] * 10000000000 }}",
      "{{ range(1000000000)|length }}",
      "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ "
      "ns.x }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x|tojson }}",
      "{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
      "{% set ns = namespace(x=1, y=1) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = "
      "[ns.y, ns.y] %}"
      "{% endfor %}{{ ns.x == ns.y }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ 'a'.replace('', 'x' * 1000000).replace('x', 'y' * 1000000) }}",
      "{{ '%1000000000d' % 5 }}",
      "{{ 'a'|center(10000000000) }}",
      "{{ ('x' * 1000000)|indent(2000) }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 10 ** 100 }}",
      "{% set s = 'x' * 1000000 %}{{ [s] * 100000 }}",
      "{{ ([[1]*1000]*1000)|sum(start=[]) }}",
  };
  for (const std::string& source : sources) {
    const auto text = render(source);
    ASSERT_FALSE(text) << source << " gave " << text->size() << " bytes";
    EXPECT_EQ(text.error().code, Errc::too_large) << source << ": " << text.error().message;
  }
  const auto deep = [](std::string_view open, std::string_view close, int n) {
    std::string text = "{{ ";
    for (int i = 0; i < n; ++i) text += open;
    text += "1";
    for (int i = 0; i < n; ++i) text += close;
    return text + " }}";
  };
  for (const std::string& source :
       {deep("(", ")", 100000), deep("[", "]", 100000), deep("-", "", 100000), deep("not ", "", 100000),
        deep("", "+1", 100000), deep("", "|trim", 100000), deep("", ".a", 100000),
        deep("1 if 1 else ", "", 100000), deep("{1:", "}", 100000)}) {
    EXPECT_EQ(ChatTemplate::parse(source, "", "").error().code, Errc::unsupported) << source.substr(0, 30);
  }
  std::string blocks;
  for (int i = 0; i < 10000; ++i) blocks += "{% if 1 %}";
  EXPECT_EQ(ChatTemplate::parse(blocks, "", "").error().code, Errc::unsupported);
  json nested = 1;
  for (int i = 0; i < 500; ++i) nested = json::array({nested});
  EXPECT_EQ(render("{{ messages }}", json::array({nested})).error().code, Errc::too_large);
}

class ChatTemplateFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(::testing::TempDir()) /
        ("chat_template_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return (directory_ / name).string();
  }
  std::string loaded(const std::string& override_file = "", const json& extra = nullptr) {
    const auto made = ChatTemplate::load(directory_.string(), override_file);
    if (!made) return made.error().message;
    return (*made)->render(json::array(), extra, {}).value_or("render failed");
  }
  std::filesystem::path directory_;
};

TEST_F(ChatTemplateFiles, SourcesInTheirOrder) {
  EXPECT_EQ(ChatTemplate::load(directory_.string(), "").error().code, Errc::not_found);
  write("chat_template.json", R"({"chat_template": "from json"})");
  EXPECT_EQ(loaded(), "from json");
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<b>"}, "eos_token": null, "chat_template": "{{ bos_token }}config"})");
  EXPECT_EQ(loaded(), "<b>config");
  write("chat_template.jinja", "{{ bos_token }}jinja\n");
  EXPECT_EQ(loaded(), "<b>jinja");
  EXPECT_EQ(loaded(write("mine.jinja", "{{ bos_token }}mine")), "<b>mine");
  EXPECT_THAT(loaded((directory_ / "absent").string()), HasSubstr("cannot open"));
}

TEST_F(ChatTemplateFiles, NamedTemplates) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
                                                        {"name": "tool_use", "template": "{{ tools|length }} tools"}]})");
  EXPECT_EQ(loaded(), "plain");
  EXPECT_EQ(loaded("", json::parse(R"({"tools": [1, 2]})")), "2 tools");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_THAT(loaded(), HasSubstr("no entry named 'default'"));
  write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_THAT(loaded(), HasSubstr("neither a string nor a list"));
  write("tokenizer_config.json", "[");
  EXPECT_THAT(loaded(), HasSubstr("not a JSON object"));
}

}  // namespace
}  // namespace leadline::coordinator
