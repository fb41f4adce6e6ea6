#include "monitoring/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "monitoring/process_metrics.h"

namespace leadline::monitoring {
namespace {

using testing::HasSubstr;
using testing::Not;

enum class Color { red, green };
constexpr std::string_view kColors[] = {"red", "green"};

TEST(Metrics, ClosedLabelSetsExistAtZeroFromTheStart) {
  MetricsRegistry registry;
  const auto set = registry.counters<Color>("leadline_paints_total", "Paints.", "color", kColors);
  EXPECT_THAT(registry.render(), HasSubstr("leadline_paints_total{color=\"green\"} 0"));
  set[Color::green].inc(2);
  EXPECT_THAT(registry.render(), HasSubstr("leadline_paints_total{color=\"green\"} 2"));
  EXPECT_THAT(registry.render(), HasSubstr("leadline_paints_total{color=\"red\"} 0"));
  set[static_cast<Color>(7)].inc();  // not a value of the set: nothing happens
  EXPECT_EQ(set[Color::red].value(), 0);
}

TEST(Metrics, DefaultHandlesDoNothing) {
  Counter().inc();
  Gauge().set(3);
  Histogram().observe(1);
  const HandleSet<Color, Counter> none;
  none[Color::red].inc();
  EXPECT_EQ(Gauge().value(), 0);
}

TEST(Metrics, HistogramBucketsAreCumulativeAndCountEqualsTheLast) {
  MetricsRegistry registry;
  const Histogram histogram = registry.histogram("leadline_wait_seconds", "Waits.");
  for (const double seconds : {0.0001, 0.0005, 0.0006, 59.0, 601.0}) histogram.observe(seconds);
  const std::string text = registry.render();
  EXPECT_THAT(text,
              HasSubstr("leadline_wait_seconds_bucket{le=\"0.0005\"} 2"));  // a boundary is in its bucket
  EXPECT_THAT(text, HasSubstr("leadline_wait_seconds_bucket{le=\"0.001\"} 3"));
  EXPECT_THAT(text, HasSubstr("leadline_wait_seconds_bucket{le=\"60\"} 4"));
  EXPECT_THAT(text, HasSubstr("leadline_wait_seconds_bucket{le=\"600\"} 4"));
  EXPECT_THAT(text, HasSubstr("leadline_wait_seconds_bucket{le=\"+Inf\"} 5"));
  EXPECT_THAT(text, HasSubstr("leadline_wait_seconds_count 5"));
  EXPECT_EQ(histogram.count(), 5U);
}

TEST(Metrics, BucketsRiseFromHalfAMillisecondToTenMinutes) {
  EXPECT_DOUBLE_EQ(kSecondsBuckets[0], 0.0005);
  EXPECT_DOUBLE_EQ(kSecondsBuckets[std::size(kSecondsBuckets) - 1], 600);
  EXPECT_TRUE(std::is_sorted(std::begin(kSecondsBuckets), std::end(kSecondsBuckets)));
}

TEST(Metrics, SameNameAndLabelsIsTheSameSeries) {
  MetricsRegistry registry;
  registry.gauge("leadline_size_bytes", "Size.", {{"worker", "0"}}).set(1);
  registry.gauge("leadline_size_bytes", "Size.", {{"worker", "0"}}).add(2);
  EXPECT_THAT(registry.render(), HasSubstr("leadline_size_bytes{worker=\"0\"} 3"));
}

TEST(Metrics, SeriesPerFamilyAreBoundedAndTheRefusedAreCounted) {
  MetricsRegistry registry;
  for (std::size_t i = 0; i < kMaxSeriesPerFamily + 3; ++i) {
    registry.gauge("leadline_size_bytes", "Size.", {{"worker", std::to_string(i)}}).set(1);
  }
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("leadline_metrics_refused_series_total 3"));
  EXPECT_THAT(text, Not(HasSubstr("worker=\"" + std::to_string(kMaxSeriesPerFamily) + "\"")));
}

TEST(Metrics, StateGaugeHasExactlyOneOne) {
  MetricsRegistry registry;
  const auto state = registry.state<Color>("leadline_light", "Light.", "color", kColors);
  state.set(Color::red);
  state.set(Color::green);
  EXPECT_THAT(registry.render(), HasSubstr("leadline_light{color=\"green\"} 1"));
  EXPECT_THAT(registry.render(), HasSubstr("leadline_light{color=\"red\"} 0"));
}

TEST(Metrics, GaugeFromIsReadAtEachScrape) {
  MetricsRegistry registry;
  double value = 1;
  registry.gauge_from("leadline_now", "Now.", [&value] { return value; });
  EXPECT_THAT(registry.render(), HasSubstr("leadline_now 1"));
  value = 5;
  EXPECT_THAT(registry.render(), HasSubstr("leadline_now 5"));
}

TEST(MetricsDeathTest, NamesThatLieAreBugs) {
  MetricsRegistry registry;
  EXPECT_DEATH(registry.counter("leadline_things", "No _total."), "_total");
  EXPECT_DEATH(registry.gauge("leadline_things_total", "A gauge."), "_total");
  EXPECT_DEATH(registry.gauge("other_things", "Foreign."), "leadline_");
  EXPECT_DEATH(registry.gauge("leadline:things", "Colon."), "leadline_");
  EXPECT_DEATH(registry.histogram("leadline_wait_ms", "Milliseconds."), "seconds");
  registry.gauge("leadline_things", "Things.");
  EXPECT_DEATH(registry.gauge("leadline_things", "Other help."), "one help");
}

TEST(Metrics, ObservationsAndScrapesRunTogether) {
  MetricsRegistry registry;
  const Histogram histogram = registry.histogram("leadline_wait_seconds", "Waits.");
  const Counter counter = registry.counter("leadline_waits_total", "Waits.");
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    while (!stop.load()) EXPECT_THAT(registry.render(), HasSubstr("leadline_wait_seconds_count"));
  });
  std::vector<std::thread> writers;
  for (int t = 0; t < 3; ++t) {
    writers.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        histogram.observe(0.01);
        counter.inc();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop.store(true);
  scraper.join();
  EXPECT_EQ(histogram.count(), 60000U);
  EXPECT_EQ(counter.value(), 60000);
}

TEST(ProcessMetrics, TellsBuildMemoryAndRestarts) {
  setenv(kRestartsVariable, "2", 1);
  MetricsRegistry registry;
  register_process_metrics(registry, "worker");
  unsetenv(kRestartsVariable);
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("component=\"worker\""));
  EXPECT_THAT(text, HasSubstr("leadline_process_restarts_total 2"));
  EXPECT_THAT(text, Not(HasSubstr("leadline_process_resident_memory_bytes 0\n")));
  EXPECT_THAT(text, HasSubstr("version=\"" + std::string(build_version()) + "\""));
}

}  // namespace
}  // namespace leadline::monitoring
