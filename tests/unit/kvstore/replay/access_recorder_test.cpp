// A running store's access log: what was recorded comes back in order, over restarts; what does not fit is
// counted; one process writes.
#include "kvstore/replay/access_recorder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace leadline::kvstore {
namespace {

class AccessRecorderTest : public ::testing::Test {
 protected:
  AccessRecorderTest() { std::filesystem::create_directories(directory_); }
  ~AccessRecorderTest() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::unique_ptr<AccessRecorder> open() const {
    auto recorder = AccessRecorder::open(options_, ends_);
    EXPECT_TRUE(recorder.has_value()) << (recorder ? "" : recorder.error().message);
    return recorder ? std::move(*recorder) : nullptr;
  }
  static std::vector<AccessRecord> chain(std::uint8_t first, std::uint32_t blocks, Access access) {
    std::vector<AccessRecord> records;
    BlockKey parent, key;
    for (std::uint32_t depth = 0; depth < blocks; ++depth, parent = key) {
      key.bytes.fill(static_cast<std::uint8_t>(first + depth));
      records.push_back(access_of(access, key, parent, depth));
      records.back().bytes = 100;
      records.back().cost_s = 0.5F;
    }
    return records;
  }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("access_recorder_test." + std::to_string(::getpid()));
  AccessRecorderOptions options_{{(directory_ / "log").string()}, 100};
  monitoring::MetricsRegistry registry_;
  static constexpr std::string_view kEnds[] = {"written", "dropped", "lost"};
  const AccessCounters ends_ = registry_.counters<AccessEnd>("leadline_test_total", "Test.", "end", kEnds);
  [[nodiscard]] bool shows(const std::string& end, int n) const {
    return registry_.render().find("leadline_test_total{end=\"" + end + "\"} " + std::to_string(n) + "\n") !=
           std::string::npos;
  }
};

TEST_F(AccessRecorderTest, RunsFollowOneAnother) {
  {
    const auto recorder = open();
    recorder->looked(chain(1, 3, Access::look));
    recorder->offered(chain(1, 3, Access::put));
    recorder->wait_idle();
    EXPECT_TRUE(shows("written", 6)) << registry_.render();
    EXPECT_EQ(read_access_log(options_.log.path)->records.size(), 6U) << "seen while the writer runs";
  }
  open()->looked(chain(1, 3, Access::look));
  const auto log = read_access_log(options_.log.path);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  ASSERT_EQ(log->records.size(), 9U);
  EXPECT_EQ(log->damaged, 0U);
  const std::vector<std::uint32_t> requests = {1, 1, 1, 0, 0, 0, 2, 2, 2};
  for (std::size_t i = 0; i < 9; ++i) {
    AccessRecord expected = chain(1, 3, i / 3 == 1 ? Access::put : Access::look)[i % 3];
    expected.request = requests[i];
    expected.time_s = log->records[i].time_s;
    EXPECT_EQ(log->records[i], expected) << i;
    EXPECT_GE(log->records[i].time_s, i == 0 ? 0 : log->records[i - 1].time_s);
  }
}

TEST_F(AccessRecorderTest, WhatDoesNotFitIsDroppedAndCounted) {
  options_.queued_records = 5;
  const auto recorder = open();
  recorder->looked(chain(1, 6, Access::look));
  recorder->wait_idle();
  recorder->looked(chain(1, 5, Access::look));
  recorder->wait_idle();
  EXPECT_TRUE(shows("dropped", 6)) << registry_.render();
  EXPECT_TRUE(shows("written", 5)) << registry_.render();
}

TEST_F(AccessRecorderTest, OneProcessWritesAndOtherFilesStay) {
  {
    const auto first = open();
    const auto second = AccessRecorder::open(options_, ends_);
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().message.find("another process writes it"), std::string::npos);
  }
  std::ofstream(options_.log.path, std::ios::trunc) << "a letter to somebody";
  const auto over = AccessRecorder::open(options_, ends_);
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().code, Errc::configuration);
  EXPECT_EQ(std::filesystem::file_size(options_.log.path), 20U);
  std::ofstream(options_.log.path, std::ios::trunc).flush();  // of a run that was ended at once
  EXPECT_NE(open(), nullptr);
}

}  // namespace
}  // namespace leadline::kvstore
