// GET /v1/kv/explain: what the worker told of a request's KV comes back by its id, to its tenant only, and is
// forgotten in the end.
#include "coordinator/http/kv_handler.h"

#include <gtest/gtest.h>

#include "coordinator/http/api.h"
#include "coordinator/http/completion_handler.h"
#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

using nlohmann::json;
using testing::FakeExchange;
using transport::KvSource;

class KvExplainTest : public ::testing::Test {
 protected:
  void answer(const std::string& id, const Tenant& tenant = {}, json more = json::object()) {
    json body = {{"model", "test-model"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
    body.update(more);
    auto exchange = std::make_shared<FakeExchange>(body.dump());
    const_cast<HttpRequest&>(exchange->request()).request_id = id;
    handle_chat_completions(c.services, exchange, tenant);
    ASSERT_TRUE(c.run(*exchange));
    ASSERT_EQ(exchange->response.status, 200) << exchange->response.body;
  }
  std::shared_ptr<FakeExchange> explain(const std::string& query, const Tenant& tenant = {}) {
    auto exchange = std::make_shared<FakeExchange>("");
    auto& request = const_cast<HttpRequest&>(exchange->request());
    request.method = "GET";
    request.path = kKvExplainPath;
    request.query = query;
    handle_kv_explain(c.services, exchange, tenant);
    return exchange;
  }
  testing::FakeCoordinator c;
};

TEST_F(KvExplainTest, TellsSpansTiersAndTimes) {
  transport::Finish& usage = c.fleet.add().usage;
  usage.cached_tokens = 5;
  usage.kv.runs = {{KvSource::device, 2}, {KvSource::disk, 3}};
  usage.kv.reads[1] = {8192, 1500};
  usage.kv.wait_us = 2000;
  usage.kv.fetch_us = 1000;
  usage.kv.recompute_us = 9000;
  usage.kv.offered_tokens = 4;
  answer("abc");
  const json body = explain("request_id=abc")->json();
  EXPECT_EQ(body["request_id"], "abc");
  ASSERT_EQ(body["choices"].size(), 1U);
  const json& choice = body["choices"][0];
  EXPECT_EQ(choice["prompt_tokens"], 6);
  EXPECT_EQ(choice["spans"], (json{{{"from", 0}, {"to", 2}, {"source", "device"}},
                                   {{"from", 2}, {"to", 5}, {"source", "disk"}},
                                   {{"from", 5}, {"to", 6}, {"source", "computed"}}}));
  EXPECT_EQ(choice["tiers"]["disk"], (json{{"tokens", 3}, {"bytes", 8192}, {"read_ms", 1.5}}));
  EXPECT_EQ(choice["tiers"]["memory"]["tokens"], 0);
  EXPECT_EQ(choice["waited_ms"], 2.0);
  EXPECT_EQ(choice["expected_fetch_ms"], 1.0);
  EXPECT_EQ(choice["recompute_ms"], 9.0);
  EXPECT_EQ(choice["saved_ms"], 7.0);
  EXPECT_EQ(choice["offered_tokens"], 4);
}

TEST_F(KvExplainTest, WhatIsNotKnownIsNull) {
  c.fleet.add();
  answer("abc");
  const json choice = explain("request_id=abc")->json()["choices"][0];
  EXPECT_TRUE(choice["recompute_ms"].is_null());
  EXPECT_EQ(choice["spans"], (json{{{"from", 0}, {"to", 6}, {"source", "computed"}}}));
}

TEST_F(KvExplainTest, OfAnIdTheNewestRequestAndEveryChoice) {
  c.fleet.add();
  answer("abc");
  c.advance(5);
  answer("abc", {}, {{"n", 3}});
  const json body = explain("x=1&request_id=abc")->json();
  ASSERT_EQ(body["choices"].size(), 3U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(body["choices"][static_cast<std::size_t>(i)]["index"], i);
}

TEST_F(KvExplainTest, AnotherTenantLearnsNothing) {
  c.fleet.add();
  Tenant alice{"alice", {}}, bob{"bob", {}};
  answer("abc", alice);
  EXPECT_EQ(explain("request_id=abc", alice)->response.status, 200);
  EXPECT_EQ(explain("request_id=abc", bob)->response.status, 404);
}

TEST_F(KvExplainTest, MissingAndUnknownIdsAreErrors) {
  for (const char* query : {"", "request_id=", "request_ids=a", "a=b&c"})
    EXPECT_EQ(explain(query)->response.status, 400) << query;
  EXPECT_EQ(explain("request_id=never")->response.status, 404);
}

TEST(KvHistory, IsBounded) {
  KvHistory history;
  for (int i = 0; i < 100; ++i) history.add({"", "id" + std::to_string(i), 0, 0, 0, {}}, 10);
  EXPECT_EQ(history.size(), 10U);
  EXPECT_TRUE(history.find("", "id89").empty());
  EXPECT_EQ(history.find("", "id90").size(), 1U);
}

}  // namespace
}  // namespace leadline::coordinator
