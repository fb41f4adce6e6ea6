#include "worker/serving/request_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace leadline::worker {
namespace {

using ::testing::HasSubstr;

IntakeLimits limits() {
  IntakeLimits l;
  l.vocab = 100;
  l.max_model_len = 32;
  l.eos_ids = {90, 91};
  return l;
}

InboxGenerate good() {
  InboxGenerate item;
  item.link = LinkId{3};
  item.request.request = transport::RequestId{4};
  item.request.prompt = {1, 2, 3};
  item.request.max_tokens = 8;
  return item;
}

TEST(Intake, TakesOverWhatTheRequestSays) {
  InboxGenerate item = good();
  item.request.generated = {7, 8};
  item.request.stop_token_ids = {91, 5};
  item.request.deadline_ms = 250;
  item.request.sampling.seed = 42;
  const auto sequence = intake(item, limits());
  ASSERT_TRUE(sequence) << sequence.error().message;
  EXPECT_EQ(sequence->tokens, (std::vector<std::int32_t>{1, 2, 3, 7, 8}));
  EXPECT_EQ(sequence->prompt_tokens, 3U);
  EXPECT_EQ(sequence->resumed_tokens, 2U);
  EXPECT_EQ(sequence->generated(), 2U);
  EXPECT_EQ(sequence->stop_ids, (std::vector<std::int32_t>{5, 90, 91}));
  EXPECT_EQ(sequence->deadline, item.received + std::chrono::milliseconds(250));
  EXPECT_EQ(sequence->sampling.seed, 42U);
  EXPECT_EQ(sequence->allowed_vocab, 100);
}

TEST(Intake, IgnoreEosLeavesOnlyTheRequestsOwnStops) {
  InboxGenerate item = good();
  item.request.ignore_eos = true;
  item.request.stop_token_ids = {5};
  EXPECT_EQ(intake(item, limits())->stop_ids, (std::vector<std::int32_t>{5}));
}

TEST(Intake, MaxTokensIsCutToTheContext) {
  InboxGenerate item = good();
  item.request.max_tokens = 1'000'000;
  EXPECT_EQ(intake(item, limits())->max_tokens, 29U);
}

struct Refused {
  const char* name;
  void (*spoil)(transport::Generate&);
  const char* says;
};
class IntakeRefuses : public ::testing::TestWithParam<Refused> {};

TEST_P(IntakeRefuses, NamesTheField) {
  InboxGenerate item = good();
  GetParam().spoil(item.request);
  const auto sequence = intake(item, limits());
  ASSERT_FALSE(sequence);
  EXPECT_THAT(sequence.error().message, HasSubstr(GetParam().says));
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
INSTANTIATE_TEST_SUITE_P(
    All, IntakeRefuses,
    ::testing::Values(
        Refused{"empty", [](auto& g) { g.prompt.clear(); }, "prompt is empty"},
        Refused{"long", [](auto& g) { g.prompt.assign(32, 1); }, "prompt has 32 tokens"},
        Refused{"negative_id", [](auto& g) { g.prompt[1] = -1; }, "prompt[1] is -1"},
        Refused{"large_id", [](auto& g) { g.prompt[2] = 100; }, "prompt[2] is 100"},
        Refused{"generated_id", [](auto& g) { g.generated = {1000}; }, "generated[0]"},
        Refused{"no_tokens", [](auto& g) { g.max_tokens = 0; }, "max_tokens is 0"},
        Refused{"done_already", [](auto& g) { g.generated.assign(8, 1); }, "generated has 8"},
        Refused{"temperature", [](auto& g) { g.sampling.temperature = kNan; }, "temperature"},
        Refused{"top_p", [](auto& g) { g.sampling.top_p = 0; }, "top_p"},
        Refused{"min_p", [](auto& g) { g.sampling.min_p = 1.5F; }, "min_p"},
        Refused{"top_k", [](auto& g) { g.sampling.top_k = -2; }, "top_k"},
        Refused{"repetition", [](auto& g) { g.sampling.repetition_penalty = 0; }, "repetition_penalty"},
        Refused{"logprobs", [](auto& g) { g.sampling.top_logprobs = 21; }, "top_logprobs"},
        Refused{"bias_id",
                [](auto& g) {
                  g.sampling.logit_bias = {{100, 1.0F}};
                },
                "logit_bias names id 100"},
        Refused{"bias_value",
                [](auto& g) {
                  g.sampling.logit_bias = {{1, kNan}};
                },
                "not finite"},
        Refused{"banned", [](auto& g) { g.banned_ids = {-5}; }, "banned_ids[0]"},
        Refused{"stops", [](auto& g) { g.stop_token_ids.assign(257, 1); }, "stop_token_ids has 257"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace leadline::worker
