#include "coordinator/http/completion_request.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

using nlohmann::json;

class CompletionRequestTest : public ::testing::Test {
 protected:
  CompletionRequestTest() {
    model.names = {"m", "alias"};
    model.max_model_len = 1000;
    model.vocab_size = 100;
    model.defaults = {0.6F, 0.9F, 40, 0.05F, 1.1F};
  }
  Result<CompletionRequest> chat(const json& more) {
    json body = {{"model", "m"}, {"messages", json::array({{{"role", "user"}, {"content", "hi"}}})}};
    for (const auto& [key, value] : more.items()) body[key] = value;
    return parse_completion_request(Endpoint::chat, body, {limits, model, 77});
  }
  Result<CompletionRequest> text(const json& more) {
    json body = {{"model", "m"}, {"prompt", "x"}};
    for (const auto& [key, value] : more.items()) body[key] = value;
    return parse_completion_request(Endpoint::completions, body, {limits, model, 77});
  }
  Limits limits;
  ServedModel model;
};

TEST_F(CompletionRequestTest, DefaultsAreTheCheckpoints) {
  const auto r = chat(json::object()).value();
  EXPECT_FLOAT_EQ(r.sampling.temperature, 0.6F);
  EXPECT_FLOAT_EQ(r.sampling.top_p, 0.9F);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_FLOAT_EQ(r.sampling.min_p, 0.05F);
  EXPECT_FLOAT_EQ(r.sampling.repetition_penalty, 1.1F);
  EXPECT_EQ(r.sampling.seed, 77u);
  EXPECT_EQ(r.sampling.top_logprobs, -1);
  EXPECT_EQ(r.n, 1u);
  EXPECT_FALSE(r.max_tokens);
  EXPECT_TRUE(r.skip_special_tokens);
  EXPECT_EQ(text(json::object())->max_tokens, 16u);
}

TEST_F(CompletionRequestTest, ReadsEveryField) {
  const auto r = chat({{"model", "alias"},
                       {"temperature", 0},
                       {"top_p", 1},
                       {"top_k", -1},
                       {"min_p", 0},
                       {"repetition_penalty", 2},
                       {"presence_penalty", -2},
                       {"frequency_penalty", 2},
                       {"seed", -1},
                       {"n", 2},
                       {"max_tokens", 5},
                       {"max_completion_tokens", 7},
                       {"min_tokens", 3},
                       {"stop", "s"},
                       {"stop_token_ids", {1, 2}},
                       {"logit_bias", {{"5", -100}}},
                       {"logprobs", true},
                       {"top_logprobs", 4},
                       {"stream", true},
                       {"stream_options", {{"include_usage", true}}},
                       {"ignore_eos", true},
                       {"return_token_ids", true},
                       {"priority", -3},
                       {"deadline_ms", 9},
                       {"prompt_cache_key", "k"},
                       {"chat_template_kwargs", {{"a", 1}}}})
                     .value();
  EXPECT_EQ(r.model, "alias");
  EXPECT_EQ(r.sampling.temperature, 0);
  EXPECT_EQ(r.sampling.top_k, 0);
  EXPECT_EQ(r.sampling.seed, UINT64_MAX);
  EXPECT_EQ(r.max_tokens, 7u);
  EXPECT_EQ(r.min_tokens, 3u);
  EXPECT_EQ(r.stops, std::vector<std::string>{"s"});
  EXPECT_EQ(r.sampling.logit_bias, (std::vector<std::pair<transport::TokenId, float>>{{5, -100.0F}}));
  EXPECT_EQ(r.sampling.top_logprobs, 4);
  EXPECT_TRUE(r.stream && r.include_usage && r.ignore_eos && r.return_token_ids);
  EXPECT_EQ(r.priority, -3);
  EXPECT_EQ(r.deadline_ms, 9u);
  EXPECT_EQ(r.template_arguments["a"], 1);
  EXPECT_TRUE(r.ignored.empty());
}

TEST_F(CompletionRequestTest, EngineWishes) {
  const auto r = chat({{"speculation", {{"mode", "static"}, {"max_draft", 6}}},
                       {"kv",
                        {{"compression", "semanticache"},
                         {"tokens", 512},
                         {"threshold", 0.7},
                         {"store", true},
                         {"ttl_s", 60}}}})
                     .value();
  EXPECT_EQ(r.speculation, (transport::SpeculationWish{transport::SpeculationMode::fixed, 6}));
  EXPECT_EQ(r.kv, (transport::KvWish{"semanticache", 0, 512, 0.7F, true, 60}));
  const auto plain = chat({{"speculation", nullptr}, {"kv", json::object()}}).value();
  EXPECT_EQ(plain.speculation, transport::SpeculationWish{});
  EXPECT_EQ(plain.kv, transport::KvWish{});
}

TEST_F(CompletionRequestTest, WrongEngineWishesNameTheWholeField) {
  const struct {
    const char* field;
    json object;
    const char* param;
  } cases[] = {
      {"speculation", "off", "speculation"},
      {"speculation", {{"mode", "fast"}}, "speculation.mode"},
      {"speculation", {{"max_draft", 0}}, "speculation.max_draft"},
      {"speculation", {{"max_drafts", 3}}, "speculation.max_drafts"},
      {"kv", json::array(), "kv"},
      {"kv", {{"budget", 0}}, "kv.budget"},
      {"kv", {{"budget", 1.01}}, "kv.budget"},
      {"kv", {{"budget", 0.5}, {"tokens", 5}}, "kv.tokens"},
      {"kv", {{"threshold", 2}}, "kv.threshold"},
      {"kv", {{"compression", "exact"}, {"budget", 0.5}}, "kv.compression"},
      {"kv", {{"compression", std::string(65, 'x')}}, "kv.compression"},
      {"kv", {{"store", "yes"}}, "kv.store"},
      {"kv", {{"pin_system", 1}}, "kv.pin_system"},
      {"kv", {{"store", false}, {"ttl_s", 5}}, "kv.ttl_s"},
      {"kv", {{"ttl", 5}}, "kv.ttl"},
  };
  for (const auto& c : cases) {
    const auto r = chat({{c.field, c.object}});
    ASSERT_FALSE(r) << c.param;
    EXPECT_EQ(r.error().param, c.param) << r.error().message;
    EXPECT_TRUE(r.error().message.starts_with(std::string(c.param) + ": ")) << r.error().message;
  }
}

TEST_F(CompletionRequestTest, NullIsAbsent) {
  const auto r = chat({{"temperature", nullptr},
                       {"stop", nullptr},
                       {"tools", nullptr},
                       {"logit_bias", nullptr},
                       {"stream_options", nullptr},
                       {"response_format", nullptr},
                       {"x", nullptr}});
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_TRUE(r->ignored.empty());
}

TEST_F(CompletionRequestTest, ErrorsNameTheField) {
  const struct {
    const char* field;
    json value;
    Errc code = Errc::invalid_request;
  } cases[] = {
      {"temperature", 2.5},
      {"temperature", "1"},
      {"temperature", true},
      {"top_p", 0},
      {"top_k", -2},
      {"min_p", 1},
      {"n", 0},
      {"n", 129},
      {"seed", 1.5},
      {"seed", 18446744073709551615ULL},
      {"max_tokens", 0},
      {"max_tokens", 1001},
      {"min_tokens", -1},
      {"stop", json::array({""})},
      {"stop", json(std::vector<std::string>(17, "a"))},
      {"stop", 3},
      {"stop_token_ids", {100}},
      {"logit_bias", {{"100", 1}}},
      {"logit_bias", {{"1", 101}}},
      {"logit_bias", {{" 1", 1}}},
      {"top_logprobs", 3},
      {"logprobs", 1},
      {"stream_options", {{"include_usage", true}}},
      {"priority", 101},
      {"deadline_ms", 0},
      {"prompt_cache_key", 5},
      {"model", "other", Errc::not_found},
      {"model", 5},
      {"messages", json::array()},
      {"messages", "hi"},
      {"tools", json::array({json::object()}), Errc::unsupported},
      {"tool_choice", "required", Errc::unsupported},
      {"response_format", {{"type", "json_object"}}, Errc::unsupported},
      {"best_of", 2, Errc::unsupported},
      {"echo", true, Errc::unsupported},
      {"reasoning_effort", "high", Errc::unsupported},
      {"guided_json", json::object(), Errc::unsupported},
  };
  for (const auto& c : cases) {
    const auto r = chat({{c.field, c.value}});
    ASSERT_FALSE(r) << c.field << " " << c.value;
    EXPECT_EQ(r.error().param, c.field) << r.error().message;
    EXPECT_EQ(r.error().code, c.code) << c.field;
  }
}

TEST_F(CompletionRequestTest, NeutralValuesOfFieldsThatAreNotBuiltPass) {
  const auto r = chat({{"tools", json::array()},
                       {"tool_choice", "auto"},
                       {"response_format", {{"type", "text"}}},
                       {"n", 3},
                       {"best_of", 3},
                       {"echo", false},
                       {"modalities", {"text"}},
                       {"length_penalty", 1.0},
                       {"prompt_logprobs", 0}});
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_TRUE(r->ignored.empty());
}

TEST_F(CompletionRequestTest, HarmlessUnknownFieldsAreListed) {
  const auto r =
      chat({{"user", "u"}, {"metadata", {{"a", "b"}}}, {"stream", true}, {"stream_options", {{"x", 1}}}})
          .value();
  EXPECT_EQ(r.ignored, (std::vector<std::string>{"stream_options.x", "metadata", "user"}));
}

TEST_F(CompletionRequestTest, PromptForms) {
  EXPECT_EQ(text({{"prompt", {"a", "b"}}})->prompts.size(), 2u);
  const auto ids = text({{"prompt", {1, 2, 3}}}).value();
  ASSERT_EQ(ids.prompts.size(), 1u);
  EXPECT_EQ(ids.prompts[0].tokens, (std::vector<transport::TokenId>{1, 2, 3}));
  const auto lists = text({{"prompt", {{1}, {2, 3}}}}).value();
  ASSERT_EQ(lists.prompts.size(), 2u);
  EXPECT_TRUE(lists.prompts[1].is_tokens);
  for (const json& bad : {json(1), json::object(), json::array(), json::array({1, "a"}),
                          json::array({"a", 1}), json::array({{100}}), json::array({-1}), json::array({1.5}),
                          json(nullptr), json(std::vector<std::string>(129, "a"))}) {
    const auto r = text({{"prompt", bad}});
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().param, "prompt");
  }
  EXPECT_EQ(text({{"prompt", json(std::vector<std::string>(64, "a"))}, {"n", 3}}).error().param, "n");
}

TEST_F(CompletionRequestTest, Messages) {
  const auto joined =
      chat({{"messages",
             {{{"role", "developer"},
               {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}}}}})
          .value();
  EXPECT_EQ(joined.messages, json::array({{{"role", "system"}, {"content", "a\nb"}}}));
  const struct {
    json message;
    const char* param;
  } cases[] = {
      {1, "messages[0]"},
      {{{"content", "x"}}, "messages[0].role"},
      {{{"role", "root"}, {"content", "x"}}, "messages[0].role"},
      {{{"role", "user"}}, "messages[0].content"},
      {{{"role", "user"}, {"content", 1}}, "messages[0].content"},
      {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}, "messages[0].content[0].type"},
      {{{"role", "user"}, {"content", {{{"type", "text"}}}}}, "messages[0].content[0].text"},
      {{{"role", "assistant"}, {"content", "x"}, {"tool_calls", {1}}}, "messages[0].tool_calls"},
      {{{"role", "user"}, {"content", "x"}, {"name", 1}}, "messages[0].name"},
  };
  for (const auto& c : cases) {
    const auto r = chat({{"messages", json::array({c.message})}});
    ASSERT_FALSE(r) << c.message;
    EXPECT_EQ(r.error().param, c.param);
  }
  EXPECT_EQ(
      chat({{"messages", {{{"role", "user"}, {"content", "x"}, {"extra", 1}, {"name", nullptr}}}}})->ignored,
      std::vector<std::string>{"messages[].extra"});
}

TEST(ChoiceSeedTest, FirstIsTheRequestsOwnAndTheOthersDiffer) {
  EXPECT_EQ(choice_seed(5, 0), 5u);
  EXPECT_NE(choice_seed(5, 1), choice_seed(5, 2));
  EXPECT_NE(choice_seed(5, 1), choice_seed(6, 1));
  EXPECT_EQ(choice_seed(5, 3), choice_seed(5, 3));
}

}  // namespace
}  // namespace leadline::coordinator
