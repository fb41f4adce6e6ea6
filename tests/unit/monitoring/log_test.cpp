#include "monitoring/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "monitoring/log_limiter.h"

namespace leadline::monitoring {
namespace {

using testing::HasSubstr;
using testing::Not;

template <typename Act>
std::string captured(const Act& act) {
  testing::internal::CaptureStderr();
  act();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, TextHasLevelProcessEventAndFields) {
  init_log({.process = "worker 0 rank 1"});
  const std::string line = captured([] {
    log_info("log_test_fields", {{"id", "r 1"}, {"n", 3}, {"ok", true}});
  });
  EXPECT_THAT(line, testing::EndsWith(" info [worker 0 rank 1] log_test_fields id=\"r 1\" n=3 ok=true\n"));
}

TEST(Log, JsonIsOneObjectALine) {
  init_log({.json = true, .process = "coordinator"});
  const std::string line = captured([] { log_warn("log_test_json", {{"path", "a\"b\n\xff"}}); });
  const auto object = nlohmann::json::parse(line);
  EXPECT_EQ(object["level"], "warning");
  EXPECT_EQ(object["process"], "coordinator");
  EXPECT_EQ(object["event"], "log_test_json");
  EXPECT_THAT(object["path"].get<std::string>(), testing::StartsWith("a\"b\n"));
}

TEST(Log, AValueCanNotForgeALine) {
  init_log({});
  const std::string line = captured([] { log_info("log_test_forge", {{"id", "x\n2026 error forged"}}); });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, SecretsAndTextsAreNotWritten) {
  init_log({});
  const std::string line = captured([] {
    log_info("log_test_secret", {{"api_key", "sk-123"}, {"prompt", "dear diary"}});
  });
  EXPECT_THAT(line, HasSubstr("log_test_secret"));
  EXPECT_THAT(line, Not(HasSubstr("sk-123")));
  EXPECT_THAT(line, Not(HasSubstr("diary")));
}

TEST(Log, LevelsBelowAreLeftOut) {
  init_log({.level = LogLevel::warn});
  EXPECT_EQ(captured([] { log_info("log_test_quiet"); }), "");
  EXPECT_NE(captured([] { log_error("log_test_loud"); }), "");
  init_log({});
}

TEST(Log, LinesOfThreadsDoNotMix) {
  init_log({});
  const std::string lines = captured([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        const std::string event = "log_test_thread_" + std::to_string(t);
        for (int i = 0; i < 10; ++i) log_info(event, {{"field", std::string(200, 'a')}});
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 40);
  EXPECT_EQ(lines.find("aa20"), std::string::npos);
}

TEST(LogLimiter, ABurstPassesThenTheRestIsCounted) {
  LogLimiter limiter;
  const auto now = LogLimiter::Clock::now();
  for (int i = 0; i < LogLimiter::kLinesPerWindow; ++i) EXPECT_EQ(limiter.admit("a", now), 0U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limiter.admit("a", now), std::nullopt);
  EXPECT_EQ(limiter.admit("b", now), 0U);  // another event has its own allowance
  EXPECT_EQ(limiter.admit("a", now + LogLimiter::kWindow), 5U);
  EXPECT_EQ(limiter.admit("a", now + LogLimiter::kWindow), 0U);
}

TEST(LogLimiter, ManyNamesShareOneAllowanceInTheEnd) {
  LogLimiter limiter;
  const auto now = LogLimiter::Clock::now();
  int written = 0;
  for (int i = 0; i < 10'000; ++i)
    written += limiter.admit("event " + std::to_string(i), now).has_value() ? 1 : 0;
  EXPECT_EQ(written, static_cast<int>(LogLimiter::kMaxEvents) + LogLimiter::kLinesPerWindow);
}

}  // namespace
}  // namespace leadline::monitoring
