#include "coordinator/http/system_prefix.h"

#include <gtest/gtest.h>

#include "coordinator/http/completion_handler.h"
#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

using leadline::testing::FakeCoordinator;
using leadline::testing::FakeExchange;
using leadline::testing::FakeTokenizer;
using nlohmann::json;

constexpr const char* kPlain =
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}<eot>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";
constexpr const char* kAsksForAUser =
    "{% if messages[-1]['role'] != 'user' %}{{ raise_exception('a user must speak last') }}{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<eot>{% endfor %}";
constexpr const char* kWithinTheUsersTurn =
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<' + messages[0]['content'] + '>> ' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}<{{ m['role'] }}>{% if loop.first %}{{ system }}{% endif %}{{ m['content'] }}<eot>{% "
    "endfor %}";
constexpr const char* kBeforeTheLast =
    "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>{% if loop.last %}"
    "{{ messages[0]['content'] }} {% endif %}{{ m['content'] }}<eot>{% endif %}{% endfor %}";

json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

std::string prefix_of(const char* source, const json& messages) {
  const auto chat_template = ChatTemplate::parse(source, "<bos>", "<eot>");
  if (!chat_template) return "template: " + chat_template.error().message;
  CompletionRequest request;
  request.messages = messages;
  ChatTemplateOptions options;
  const auto rendered = (*chat_template)->render(messages, nullptr, options);
  if (!rendered) return "render: " + rendered.error().message;
  const std::string prefix = render_system_prefix(request, **chat_template, *rendered, 0);
  EXPECT_TRUE(rendered->starts_with(prefix)) << prefix;
  return prefix;
}

const json kChat = {message("system", " be brief\n"), message("user", "hi"), message("assistant", "yes"),
                    message("user", "be brief")};

TEST(SystemPrefix, IsWhatTheTemplateMakesOfTheLeadingSystemMessages) {
  EXPECT_EQ(prefix_of(kPlain, kChat), "<bos><system>be brief<eot>\n");
  EXPECT_EQ(prefix_of(kPlain, {message("system", "a"), message("system", "b"), message("user", "c"),
                               message("system", "d")}),
            "<bos><system>a<eot>\n<system>b<eot>\n");
  EXPECT_EQ(prefix_of(kPlain, {message("user", "hi"), message("system", "late")}), "");
  EXPECT_EQ(prefix_of(kPlain, json::array({message("system", "alone")})), "<bos><system>alone<eot>\n");
}

TEST(SystemPrefix, OfTemplatesThatNeedAUser) {
  EXPECT_EQ(prefix_of(kAsksForAUser, kChat), "<system> be brief\n<eot><user>");
  EXPECT_EQ(prefix_of(kWithinTheUsersTurn, kChat), "<user><< be brief\n>> ");
  EXPECT_EQ(prefix_of(kBeforeTheLast, kChat), "") << "no prefix of the chat";
}

TEST(SystemPrefix, TokensThatReachBeyondItsEndAreNotIts) {
  const FakeTokenizer tokenizer;
  const auto prompt = tokenizer.encode("ab<user>hi", false, 100).value();
  EXPECT_EQ(system_prefix_tokens(tokenizer, "ab", prompt), 2U);
  EXPECT_EQ(system_prefix_tokens(tokenizer, "ab<us", prompt), 2U) << "<user> is one token";
  EXPECT_EQ(system_prefix_tokens(tokenizer, "ab<user>", prompt), 3U);
  EXPECT_EQ(system_prefix_tokens(tokenizer, "ab<user>hi, and more", prompt), prompt.size());
  EXPECT_EQ(system_prefix_tokens(tokenizer, "", prompt), 0U);
  EXPECT_EQ(system_prefix_tokens(tokenizer, "other", prompt), 0U);
}

// What the worker is told, by what a request asks for.
TEST(SystemPrefix, GoesWithRequestsThatAreCompressed) {
  FakeCoordinator c;
  auto& worker = c.fleet.add();
  const auto pinned = [&](const json& kv, bool system = true) {
    json messages = json::array({message("user", "hi")});
    if (system) messages.insert(messages.begin(), message("system", "Be good"));
    auto exchange = std::make_shared<FakeExchange>(
        json{{"model", "test-model"}, {"messages", messages}, {"kv", kv}}.dump());
    handle_chat_completions(c.services, exchange, {});
    EXPECT_TRUE(c.run(*exchange));
    return worker.history.back().kv.pinned_prefix;
  };
  const std::uint32_t tokens = 1 + 8 + 7 + 1;  // <bos>, eight bytes of <system>, the text, <eot>
  EXPECT_EQ(pinned({{"compression", "snapkv"}}), tokens);
  EXPECT_EQ(pinned({{"compression", "snapkv"}}, false), 0U);
  EXPECT_EQ(pinned({{"compression", "snapkv"}, {"pin_system", false}}), 0U);
  EXPECT_EQ(pinned({{"compression", "exact"}}), 0U);
  EXPECT_EQ(pinned({{"store", false}}), 0U);
  c.services.kv_compression = "semanticache";
  EXPECT_EQ(pinned({{"store", false}}), tokens);
  EXPECT_EQ(pinned({{"compression", "exact"}}), 0U);
}

}  // namespace
}  // namespace leadline::coordinator
