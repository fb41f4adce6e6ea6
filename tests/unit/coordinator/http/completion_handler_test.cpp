#include "coordinator/http/completion_handler.h"
#include "coordinator/http/console_handler.h"

#include <gtest/gtest.h>

#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

using leadline::testing::FakeCoordinator;
using leadline::testing::FakeExchange;
using nlohmann::json;

json chat_body(json more = json::object()) {
  json body = {{"model", "test-model"}, {"messages", json::array({{{"role", "user"}, {"content", "hi"}}})}};
  body.update(more);
  return body;
}

class CompletionHandlerTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeExchange> chat(const json& body) {
    auto exchange = std::make_shared<FakeExchange>(body.dump());
    handle_chat_completions(c.services, exchange, {});
    return exchange;
  }
  std::shared_ptr<FakeExchange> complete(const json& body) {
    auto exchange = std::make_shared<FakeExchange>(body.dump());
    handle_completions(c.services, exchange, {});
    return exchange;
  }
  static std::string streamed_text(const FakeExchange& exchange, int choice = 0) {
    std::string text;
    for (const json& event : exchange.events()) {
      if (!event.is_object() || !event.contains("choices")) continue;
      for (const json& entry : event["choices"]) {
        if (entry["index"] != choice) continue;
        text +=
            entry.contains("text") ? entry["text"].get<std::string>() : entry["delta"].value("content", "");
      }
    }
    return text;
  }
  FakeCoordinator c;
};

TEST_F(CompletionHandlerTest, WholeChatHasOpenAiShape) {
  transport::Finish& usage = c.fleet.add().usage;
  usage.cached_tokens = 3;
  usage.kv.runs = {{transport::KvSource::memory, 1}, {transport::KvSource::disk, 2}};
  usage.speculation_rounds = 4;
  usage.drafted_tokens = 9;
  usage.accepted_tokens = 7;
  auto exchange = chat(chat_body());
  ASSERT_TRUE(c.run(*exchange));
  const json body = exchange->json();
  EXPECT_EQ(exchange->response.status, 200);
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "Hello, world");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(body["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(body["usage"]["prompt_tokens"], 6);  // <bos><user>hi<eot><assistant>
  EXPECT_EQ(body["usage"]["completion_tokens"], 13);
  EXPECT_EQ(body["usage"]["total_tokens"], 19);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_by_tier"],
            (json{{"device", 0}, {"memory", 1}, {"disk", 2}, {"redis", 0}}));
  EXPECT_EQ(body["usage"]["speculation"], (json{{"rounds", 4}, {"drafted", 9}, {"accepted", 7}}));
  EXPECT_EQ(body["timings"]["prefill_ms"], 2.0);
}

TEST_F(CompletionHandlerTest, WhatWorkersSaidOfDepthAndTiersReachesTheStatus) {
  transport::Finish& usage = c.fleet.add().usage;
  usage.cached_tokens = 3;  // of a prompt of 6
  usage.kv.runs = {{transport::KvSource::device, 1}, {transport::KvSource::memory, 2}};
  usage.drafted_tokens = 8;
  usage.accepted_tokens = 6;
  auto exchange = chat(chat_body());
  ASSERT_TRUE(c.run(*exchange));
  auto status = std::make_shared<FakeExchange>("");
  handle_status(c.services, status, Tenant{});
  const json body = status->json();
  EXPECT_EQ(body["speculation"]["acceptance"], 0.75);
  EXPECT_EQ(body["kv_tiers"], (json{{"device", 1.0 / 6}, {"memory", 2.0 / 6}}));
}

TEST_F(CompletionHandlerTest, StreamBeginsWithRoleEndsWithUsageAndDone) {
  c.fleet.add();
  auto exchange = chat(chat_body({{"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  ASSERT_TRUE(c.run(*exchange));
  const auto events = exchange->events();
  EXPECT_EQ(events.front()["choices"][0]["delta"], json({{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(events.front()["object"], "chat.completion.chunk");
  EXPECT_TRUE(events.front()["usage"].is_null());
  EXPECT_EQ(streamed_text(*exchange), "Hello, world");
  EXPECT_EQ(events.back(), "[DONE]");
  const json& usage = events[events.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 13);
  int finishes = 0;
  for (const json& event : events) {
    if (event.is_object() && !event["choices"].empty() && !event["choices"][0]["finish_reason"].is_null())
      ++finishes;
  }
  EXPECT_EQ(finishes, 1);
}

TEST_F(CompletionHandlerTest, EveryChoiceHasItsOwnSeedAndFinish) {
  auto& worker = c.fleet.add();
  auto exchange = chat(chat_body({{"stream", true}, {"n", 3}, {"seed", 7}}));
  ASSERT_TRUE(c.run(*exchange));
  ASSERT_EQ(worker.history.size(), 3u);
  EXPECT_EQ(worker.history[0].sampling.seed, 7u);
  EXPECT_NE(worker.history[1].sampling.seed, 7u);
  EXPECT_NE(worker.history[1].sampling.seed, worker.history[2].sampling.seed);
  for (int choice = 0; choice < 3; ++choice) EXPECT_EQ(streamed_text(*exchange, choice), "Hello, world");
}

TEST_F(CompletionHandlerTest, StopStringEndsAndBillsOnlyWhatWasDelivered) {
  auto& worker = c.fleet.add();
  auto exchange = chat(chat_body({{"stop", json::array({"wor"})}}));
  ASSERT_TRUE(c.run(*exchange));
  const json body = exchange->json();
  EXPECT_EQ(body["choices"][0]["message"]["content"], "Hello, ");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["choices"][0]["stop_reason"], "wor");
  EXPECT_EQ(body["usage"]["completion_tokens"], 10);  // through the r of "wor"
  EXPECT_EQ(worker.cancelled.size(), 1u);
}

TEST_F(CompletionHandlerTest, FailoverGoesOnWithoutLossOrRepeat) {
  auto& first = c.fleet.add();
  auto& second = c.fleet.add();
  auto exchange = chat(chat_body({{"stream", true}, {"seed", 11}, {"stop", json::array({"o, w"})}}));
  for (int i = 0; i < 6; ++i) {  // "Hello," is out, so the stop string straddles the failover
    c.dispatcher.pump();
    c.fleet.step();
    c.advance(1);
  }
  ASSERT_EQ(first.history.size(), 1u);
  first.die();
  ASSERT_TRUE(c.run(*exchange));
  ASSERT_EQ(second.history.size(), 1u);
  EXPECT_EQ(second.history[0].generated.size(), 6u);
  EXPECT_EQ(second.history[0].sampling.seed, 11u);
  EXPECT_EQ(streamed_text(*exchange), "Hell");
  EXPECT_EQ(exchange->events().back(), "[DONE]");
}

TEST_F(CompletionHandlerTest, LostWorkerWithoutAnotherEndsTheStreamWithAnErrorEvent) {
  auto& only = c.fleet.add();
  auto exchange = chat(chat_body({{"stream", true}}));
  c.dispatcher.pump();
  c.fleet.step();
  only.die();
  ASSERT_TRUE(exchange->answered());
  EXPECT_EQ(exchange->events().back()["error"]["type"], "service_unavailable_error");
}

TEST_F(CompletionHandlerTest, LostWorkerBeforeTheFirstTokenWaitsForItsReturn) {
  auto& only = c.fleet.add();
  auto exchange = chat(chat_body());
  c.dispatcher.pump();
  ASSERT_EQ(only.history.size(), 1u);
  only.die();
  EXPECT_FALSE(exchange->answered());
  c.advance(5000);
  only.view.link = LinkState::connected;
  ASSERT_TRUE(c.run(*exchange));
  EXPECT_EQ(exchange->json()["choices"][0]["message"]["content"], "Hello, world");
}

TEST_F(CompletionHandlerTest, DisconnectCancelsInQueueAndInDecodeAndWhileTokenising) {
  auto& worker = c.fleet.add(1);
  c.limits.worker_surplus = 0;
  auto running = chat(chat_body({{"stream", true}}));
  c.dispatcher.pump();
  auto queued = chat(chat_body());
  c.dispatcher.pump();
  EXPECT_EQ(c.dispatcher.waiting(), 1u);
  queued->disconnect();
  EXPECT_EQ(c.dispatcher.waiting(), 0u);
  c.fleet.step();
  running->gone = true;
  running->disconnect();
  EXPECT_EQ(worker.abandoned.size(), 1u);
  c.hold_text = true;
  auto tokenising = chat(chat_body());
  tokenising->disconnect();
  c.hold_text = false;
  c.held[0].first();
  c.held[0].second();
  c.advance(1);
  EXPECT_TRUE(c.dispatcher.idle());
  EXPECT_EQ(worker.history.size(), 1u);
}

TEST_F(CompletionHandlerTest, FullQueueAnswers429WithRetryAfter) {
  c.fleet.add(1);
  c.limits.waiting_requests = 2;
  std::vector<std::shared_ptr<FakeExchange>> all;
  for (int i = 0; i < 16; ++i) {
    all.push_back(chat(chat_body()));
    c.dispatcher.pump();
  }
  EXPECT_EQ(all.back()->response.status, 429);
  EXPECT_FALSE(all.back()->header("Retry-After").empty());
  EXPECT_EQ(all.back()->json()["error"]["type"], "rate_limit_error");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(c.run(*all[i])) << i;
}

TEST_F(CompletionHandlerTest, CompletionsTakeAllFourPromptForms) {
  c.fleet.add();
  for (const json& prompt : {json("ab"), json::array({"ab", "c"}), json::array({97, 98}),
                             json::array({json::array({97, 98}), json::array({99})})}) {
    auto exchange = complete({{"model", "test-model"},
                              {"prompt", prompt},
                              {"return_token_ids", true},
                              {"add_special_tokens", false}});
    ASSERT_TRUE(c.run(*exchange));
    ASSERT_EQ(exchange->response.status, 200) << exchange->response.body;
    const json body = exchange->json();
    EXPECT_EQ(body["choices"][0]["prompt_token_ids"], json::array({97, 98}));
    EXPECT_EQ(body["choices"][0]["text"], "Hello, world");
    EXPECT_EQ(body["choices"].size(), prompt.is_array() && !prompt[0].is_number() ? 2u : 1u);
  }
}

TEST_F(CompletionHandlerTest, LogprobsHaveTheShapesOfBothEndpoints) {
  c.fleet.add().answer = "Hi";
  auto exchange = chat(chat_body({{"logprobs", true}, {"top_logprobs", 2}}));
  ASSERT_TRUE(c.run(*exchange));
  json body = exchange->json();
  const json& first = body["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(first["token"], "H");
  EXPECT_EQ(first["bytes"], json::array({72}));
  EXPECT_EQ(first["top_logprobs"].size(), 2u);
  auto text = complete({{"model", "test-model"}, {"prompt", "x"}, {"logprobs", 2}});
  ASSERT_TRUE(c.run(*text));
  body = text->json();
  const json& lists = body["choices"][0]["logprobs"];
  EXPECT_EQ(lists["tokens"], json::array({"H", "i", "<eot>"}));
  EXPECT_EQ(lists["text_offset"], json::array({0, 1, 2}));
  EXPECT_EQ(lists["top_logprobs"][0].size(), 2u);
}

TEST_F(CompletionHandlerTest, SecondTurnSplicesTheSampledIds) {
  auto& worker = c.fleet.add();
  auto first = chat(chat_body());
  ASSERT_TRUE(c.run(*first));
  auto second =
      chat(chat_body({{"messages", json::array({{{"role", "user"}, {"content", "hi"}},
                                                {{"role", "assistant"}, {"content", "Hello, world"}},
                                                {{"role", "user"}, {"content", "more"}}})}}));
  ASSERT_TRUE(c.run(*second));
  ASSERT_EQ(worker.history.size(), 2u);
  std::vector<transport::TokenId> expected = worker.history[0].prompt;
  for (const char letter : std::string("Hello, world")) expected.push_back(letter);
  expected.push_back(257);
  const auto& prompt = worker.history[1].prompt;
  ASSERT_GE(prompt.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), prompt.begin()));
}

TEST_F(CompletionHandlerTest, KeepAliveCommentsWhileNothingComes) {
  c.fleet.add();
  auto exchange = chat(chat_body({{"stream", true}}));
  c.dispatcher.pump();
  for (int i = 0; i < 3; ++i) c.advance(c.limits.keep_alive_ms);
  EXPECT_NE(exchange->stream.find(": keep-alive\n\n"), std::string::npos);
  ASSERT_TRUE(c.run(*exchange));
  EXPECT_EQ(streamed_text(*exchange), "Hello, world");
}

TEST_F(CompletionHandlerTest, HandedBackWorkIsPlacedElsewhere) {
  auto& first = c.fleet.add();
  auto& second = c.fleet.add();
  auto exchange = chat(chat_body());
  c.dispatcher.pump();
  ASSERT_EQ(first.open.size(), 1u);
  first.finish(first.open.begin()->first, transport::FinishReason::overloaded);
  c.dispatcher.pump();
  EXPECT_EQ(second.history.size(), 1u);
  EXPECT_TRUE(c.run(*exchange));
}

TEST_F(CompletionHandlerTest, HigherPriorityGoesFirst) {
  auto& worker = c.fleet.add(1);
  c.limits.worker_surplus = 0;
  auto running = chat(chat_body());
  c.dispatcher.pump();
  auto low = chat(chat_body({{"seed", 1}}));
  auto high = chat(chat_body({{"seed", 2}, {"priority", 5}}));
  ASSERT_TRUE(c.run(*low));
  ASSERT_EQ(worker.history.size(), 3u);
  EXPECT_EQ(worker.history[1].sampling.seed, 2u);
  EXPECT_TRUE(high->answered());
}

TEST_F(CompletionHandlerTest, DeadlineInTheQueueIs408) {
  c.fleet.add(1).view.phase = transport::WorkerPhase::loading;
  auto exchange = chat(chat_body({{"deadline_ms", 50}}));
  c.advance(60);
  ASSERT_TRUE(exchange->answered());
  EXPECT_EQ(exchange->response.status, 408);
  EXPECT_EQ(exchange->json()["error"]["param"], "deadline_ms");
}

TEST_F(CompletionHandlerTest, NoWorkerInTimeIs503WithRetryAfter) {
  c.fleet.add().view.phase = transport::WorkerPhase::loading;
  auto exchange = chat(chat_body());
  c.advance(c.limits.no_worker_timeout_ms + 1);
  ASSERT_TRUE(exchange->answered());
  EXPECT_EQ(exchange->response.status, 503);
  EXPECT_FALSE(exchange->header("Retry-After").empty());
}

TEST_F(CompletionHandlerTest, IgnoredFieldsAreNamedInAHeader) {
  c.fleet.add();
  auto exchange = chat(chat_body({{"user", "u1"}, {"no_such_field", 1}}));
  ASSERT_TRUE(c.run(*exchange));
  EXPECT_EQ(exchange->header("x-leadline-ignored-fields"), "no_such_field, user");
}

TEST_F(CompletionHandlerTest, TemplateErrorsAreThe400OfTheRequest) {
  c.fleet.add();
  auto exchange =
      chat({{"model", "test-model"}, {"messages", json::array({{{"role", "user"}, {"content", "raise"}}})}});
  ASSERT_TRUE(exchange->answered());
  EXPECT_EQ(exchange->response.status, 400);
  EXPECT_EQ(exchange->json()["error"]["param"], "messages");
}

}  // namespace
}  // namespace leadline::coordinator
