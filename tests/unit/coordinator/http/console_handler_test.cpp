#include "coordinator/http/console_handler.h"

#include <gtest/gtest.h>

#include "coordinator/console/console_files.h"
#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

std::shared_ptr<testing::FakeExchange> get(const std::string& path) {
  auto exchange = std::make_shared<testing::FakeExchange>("");
  auto& request = const_cast<HttpRequest&>(exchange->request());
  request.method = "GET";
  request.path = path;
  return exchange;
}

TEST(ConsoleHandlerTest, EveryFileHasTypeAndPolicy) {
  testing::FakeCoordinator c;
  const auto files = console_files();
  ASSERT_GE(files.size(), 3U);
  for (const ConsoleFile& file : files) {
    auto exchange = get("/console/" + std::string(file.name));
    handle_console(c.services, exchange, Tenant{});
    EXPECT_EQ(exchange->response.status, 200) << file.name;
    EXPECT_EQ(exchange->response.body, file.bytes) << file.name;
    EXPECT_EQ(exchange->response.content_type, file.content_type);
    const std::string policy = exchange->header("Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self';")) << policy;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(exchange->header("X-Frame-Options"), "DENY");
  }
}

TEST(ConsoleHandlerTest, RootIsThePage) {
  testing::FakeCoordinator c;
  auto exchange = get("/");
  handle_console(c.services, exchange, Tenant{});
  EXPECT_EQ(exchange->response.content_type, "text/html; charset=utf-8");
  EXPECT_NE(exchange->response.body.find("<!doctype html>"), std::string::npos);
}

TEST(ConsoleHandlerTest, NothingForeignAndNothingInline) {
  for (const ConsoleFile& file : console_files()) {
    for (const char* bad :
         {"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", "onclick="}) {
      EXPECT_EQ(file.bytes.find(bad), std::string_view::npos) << file.name << " has " << bad;
    }
    EXPECT_EQ(file.bytes.find("src=\"http"), std::string_view::npos) << file.name;
    EXPECT_EQ(file.bytes.find("url(http"), std::string_view::npos) << file.name;
  }
}

TEST(ConsoleHandlerTest, UnknownFilesAreNotFound) {
  testing::FakeCoordinator c;
  for (const char* path : {"/console/nothing.js", "/console/../index.html", "/console/console.js/"}) {
    auto exchange = get(path);
    handle_console(c.services, exchange, Tenant{});
    EXPECT_EQ(exchange->response.status, 404) << path;
  }
}

TEST(StatusHandlerTest, TellsQueueAndWorkers) {
  monitoring::MetricsRegistry registry;
  testing::FakeCoordinator c;
  c.metrics = CoordinatorMetrics::create(registry);
  c.fleet.add(0).view.address = "10.0.0.7:4000";
  c.metrics.generation_tokens.inc(17);
  c.metrics.prompt_tokens[PromptSource::cached].inc(5);
  auto exchange = get("/v1/leadline/status");
  handle_status(c.services, exchange, Tenant{});
  const auto body = exchange->json();
  EXPECT_EQ(body["requests"]["running"], 0);
  EXPECT_EQ(body["requests"]["waiting"], 0);
  EXPECT_EQ(body["draining"], false);
  EXPECT_EQ(body["tokens"]["generated_total"], 17);
  EXPECT_EQ(body["tokens"]["prompt_cached_total"], 5);
  ASSERT_EQ(body["workers"].size(), 1U);
  EXPECT_EQ(body["workers"][0]["worker"], 0);
  EXPECT_EQ(body["workers"][0]["state"], "ready");
  EXPECT_EQ(exchange->response.body.find("10.0.0.7"), std::string::npos);
  c.dispatcher.drain();
  auto draining = get("/v1/leadline/status");
  handle_status(c.services, draining, Tenant{});
  EXPECT_EQ(draining->json()["draining"], true);
}

// What the page shows of depth and cache comes from what the workers said at the end of answers.
TEST(StatusHandlerTest, TellsDepthAndTiersOnceTheyHappened) {
  testing::FakeCoordinator c;
  auto quiet = get("/v1/leadline/status");
  handle_status(c.services, quiet, Tenant{});
  EXPECT_FALSE(quiet->json().contains("speculation"));
  EXPECT_FALSE(quiet->json().contains("kv_tiers"));

  EngineTotals totals;
  GenerationResult result;
  result.drafted_tokens = 8;
  result.accepted_tokens = 6;
  result.prompt_tokens = 20;
  result.cached_tokens = 16;
  result.kv.runs = {
      {transport::KvSource::device, 5}, {transport::KvSource::memory, 10}, {transport::KvSource::redis, 1}};
  totals.add_end(result);
  const transport::SampledToken tokens[] = {{1, 0, {}, 4}, {2, 0, {}, -8}, {3, 0, {}, 0}};
  totals.add_tokens(tokens);
  EXPECT_EQ(totals.drafted_tokens, 8U);
  EXPECT_EQ(totals.draft_layers, 12U);
  EXPECT_EQ(totals.layered_tokens, 2U);
  EXPECT_EQ(totals.device_tokens, 5U);
  EXPECT_EQ(totals.memory_tokens, 10U);
  EXPECT_EQ(totals.disk_tokens, 0U);
  EXPECT_EQ(totals.redis_tokens, 1U);
}

TEST(StatusHandlerTest, NoFleetIsNoWorkers) {
  testing::FakeCoordinator c;
  c.dispatcher.set_fleet(nullptr);
  auto exchange = get("/v1/leadline/status");
  handle_status(c.services, exchange, Tenant{});
  EXPECT_TRUE(exchange->json()["workers"].is_array());
  EXPECT_TRUE(exchange->json()["workers"].empty());
}

TEST(StatusHandlerTest, StateOfAWorker) {
  WorkerView view;
  EXPECT_EQ(state_name(view), "connecting");
  view.link = LinkState::connected;
  EXPECT_EQ(state_name(view), "loading");
  view.phase = transport::WorkerPhase::ready;
  EXPECT_EQ(state_name(view), "ready");
  view.stalled = true;
  EXPECT_EQ(state_name(view), "stalled");
  view.draining = true;
  EXPECT_EQ(state_name(view), "draining");
  view.phase = transport::WorkerPhase::failed;
  EXPECT_EQ(state_name(view), "failed");
}

}  // namespace
}  // namespace leadline::coordinator
