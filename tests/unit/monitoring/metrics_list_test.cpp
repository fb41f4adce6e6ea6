// The names and labels that dashboards and alerts rely on are frozen in tests/golden/metrics_list. To change
// them on purpose: LEADLINE_UPDATE_GOLDEN=1 build/release/tests/metrics_list_test, and say so in the commit.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "coordinator/coordinator_metrics.h"
#include "kvstore/store_metrics.h"
#include "monitoring/metrics.h"
#include "monitoring/process_metrics.h"
#include "worker/runtime/prefix_fetcher_metrics.h"
#include "worker/runtime/worker_metrics.h"

namespace leadline {
namespace {

const std::string kRoot = LEADLINE_SOURCE_DIR;

std::unique_ptr<monitoring::MetricsRegistry> coordinator_registry() {
  auto registry = std::make_unique<monitoring::MetricsRegistry>();
  monitoring::register_process_metrics(*registry, "coordinator");
  coordinator::CoordinatorMetrics::create(*registry);
  coordinator::worker_link_metrics(*registry, 0);
  coordinator::publish_config_info(*registry, {});
  return registry;
}

std::unique_ptr<monitoring::MetricsRegistry> worker_registry() {
  static const monitoring::ProcessHealth health;
  auto registry = std::make_unique<monitoring::MetricsRegistry>();
  monitoring::register_process_metrics(*registry, "worker");
  worker::WorkerMetrics::create(*registry, health);
  worker::publish_config_info(*registry, {});
  kvstore::StoreMetrics::create(*registry);
  worker::PrefixFetcherMetrics::create(*registry);
  return registry;
}

// "counter leadline_x_total reason=a|b"; of labels whose values are facts of a run, only the name.
std::string list_of(const monitoring::MetricsRegistry& registry) {
  std::string text;
  for (const auto& family : registry.describe()) {
    text += family.type + " " + family.name;
    for (const std::string& label : family.labels) {
      const bool open = family.name.ends_with("_info") || label.starts_with("worker=");
      text += " " + (open ? label.substr(0, label.find('=')) : label);
    }
    text += "\n";
  }
  return text;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_golden(const monitoring::MetricsRegistry& registry, const std::string& name) {
  const std::string path = kRoot + "/tests/golden/metrics_list/" + name + ".txt", list = list_of(registry);
  if (std::getenv("LEADLINE_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << list;
  EXPECT_EQ(list, read_file(path)) << path;
}

TEST(MetricsList, CoordinatorIsAsFrozen) {
  expect_golden(*coordinator_registry(), "coordinator");
}
TEST(MetricsList, WorkerIsAsFrozen) {
  expect_golden(*worker_registry(), "worker");
}

TEST(MetricsList, NoNameMeansTwoThings) {
  std::map<std::string, std::string> help;
  for (const auto& family : coordinator_registry()->describe()) help[family.name] = family.help;
  for (const auto& family : worker_registry()->describe()) {
    if (help.contains(family.name)) {
      EXPECT_EQ(help[family.name], family.help) << family.name;
    }
  }
}

// monitoring/README.md: | `name` | type | labels | exported by | meaning | act when |
TEST(MetricsList, ReadmeTableNamesEveryMetricAndNoOther) {
  std::map<std::string, std::string> table, exported;
  std::istringstream readme(read_file(kRoot + "/monitoring/README.md"));
  const std::regex row(R"(^\| `(leadline_[a-z0-9_]+)` \| ([a-z]+) \| ([^|]*) \| ([^|]*) \|.*)");
  for (std::string line; std::getline(readme, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) table[match[1]] = match[2].str() + ", " + match[4].str();
  }
  for (const auto& family : coordinator_registry()->describe()) {
    exported[family.name] = family.type + ", coordinator";
  }
  for (const auto& family : worker_registry()->describe()) {
    const bool both = exported.contains(family.name);
    exported[family.name] = family.type + (both ? ", both" : ", worker");
  }
  EXPECT_EQ(table, exported);
}

void expect_promtool_accepts(const monitoring::MetricsRegistry& registry) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool (package prometheus) is not installed";
  }
  std::FILE* promtool = popen("promtool check metrics 2>&1", "w");
  ASSERT_NE(promtool, nullptr);
  const std::string text = registry.render();
  std::fwrite(text.data(), 1, text.size(), promtool);
  const int status = pclose(promtool);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "promtool's words are above";
}

TEST(MetricsList, PromtoolAcceptsTheCoordinator) {
  expect_promtool_accepts(*coordinator_registry());
}
TEST(MetricsList, PromtoolAcceptsTheWorker) {
  expect_promtool_accepts(*worker_registry());
}

}  // namespace
}  // namespace leadline
