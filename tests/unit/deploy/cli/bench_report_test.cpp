#include "deploy/cli/bench_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leadline::deploy {
namespace {

TEST(Percentiles, AreNearestRank) {
  std::vector<double> samples;
  for (int i = 100; i >= 1; --i) samples.push_back(i);
  const Percentiles p = compute_percentiles(samples);
  EXPECT_EQ(p.count, 100U);
  EXPECT_DOUBLE_EQ(p.p50, 50);
  EXPECT_DOUBLE_EQ(p.p90, 90);
  EXPECT_DOUBLE_EQ(p.p99, 99);
  EXPECT_DOUBLE_EQ(p.max, 100);
  EXPECT_DOUBLE_EQ(p.mean, 50.5);
  EXPECT_DOUBLE_EQ(compute_percentiles({3}).p99, 3);
  EXPECT_DOUBLE_EQ(compute_percentiles({}).p50, 0);
}

BenchReport example() {
  BenchSample good;
  good.ok = true;
  good.ttft = 0.1;
  good.e2e = 0.4;
  good.inter_token = {0.1, 0.2};
  good.prompt_tokens = 10;
  good.completion_tokens = 3;
  BenchSample whole = good;  // not streamed: no first token seen
  whole.ttft = -1;
  whole.inter_token.clear();
  BenchSample bad;
  bad.error = "HTTP 429: full";
  return make_report({good, whole, bad, bad}, 2, 2.0);
}

TEST(BenchReport, CountsWhatCompletedAndWhyTheRestDidNot) {
  const BenchReport report = example();
  EXPECT_EQ(report.completed, 2U);
  EXPECT_EQ(report.failed, 2U);
  EXPECT_EQ(report.ttft.count, 1U);
  EXPECT_EQ(report.inter_token.count, 2U);
  EXPECT_EQ(report.e2e.count, 2U);
  EXPECT_EQ(report.errors.at("HTTP 429: full"), 2U);
}

TEST(BenchReport, JsonAndTextSayTheSame) {
  const BenchReport report = example();
  const auto object = nlohmann::json::parse(to_json(report));
  EXPECT_DOUBLE_EQ(object["completion_tokens_per_second"], 3.0);
  EXPECT_DOUBLE_EQ(object["requests_per_second"], 1.0);
  EXPECT_DOUBLE_EQ(object["ttft_seconds"]["p50"], 0.1);
  EXPECT_EQ(object["errors"]["HTTP 429: full"], 2);
  const std::string text = to_text(report);
  EXPECT_THAT(text, testing::HasSubstr("2 requests completed, 2 failed, 2 at a time, in 2.00 s"));
  EXPECT_THAT(text, testing::HasSubstr("3.0 tokens/s generated (6)"));
  EXPECT_THAT(text, testing::HasSubstr("failed 2 times: HTTP 429: full"));
}

}  // namespace
}  // namespace leadline::deploy
