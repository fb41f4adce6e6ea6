#include "policy/trajectory_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "policy/byte_file.h"

namespace leadline::policy {
namespace {

TrajectoryHeader header() {
  return {"identity", "learned", 0.1F, 12, {2, 4}};
}

Trajectory round_of(std::uint32_t number, std::size_t decisions = 3) {
  Trajectory round;
  round.sequence = 77;
  round.round = number;
  round.batch_rows = 2;
  round.tokens = 2;
  round.drafted = 3;
  round.accepted = 1;
  for (std::size_t i = 0; i < decisions; ++i) {
    LoggedDecision d;
    d.kind = i == 0 ? DecisionKind::round_start : DecisionKind::after_draft;
    d.action = i == 0 ? Action{ActionKind::climb, 4, 12} : Action{ActionKind::go_on};
    d.exit = i == 0 ? 0 : 4;
    d.drafted = i == 0 ? 0 : static_cast<std::int32_t>(i - 1);
    d.propensity = 0.25F;
    d.cost_us = 100.5F;
    d.features.set(Feature::entropy, static_cast<float>(number));
    round.decisions.push_back(d);
  }
  return round;
}

class TrajectoryLogTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "trajectory_log_test." + std::to_string(::getpid());
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory_))
      found.push_back(entry.path().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  std::string directory_;
};

TEST_F(TrajectoryLogTest, WhatIsWrittenIsRead) {
  {
    auto log = TrajectoryLog::open(directory_, header());
    ASSERT_TRUE(log) << log.error().message;
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_TRUE(log->append(round_of(i)));
  }
  ASSERT_EQ(files().size(), 1U);
  const auto read = read_trajectories(files()[0]);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->header.exits, (std::vector<std::int32_t>{2, 4}));
  EXPECT_EQ(read->header.policy, "learned");
  EXPECT_FLOAT_EQ(read->header.epsilon, 0.1F);
  ASSERT_EQ(read->rounds.size(), 5U);
  EXPECT_EQ(read->damaged, 0U);
  const LoggedDecision& d = read->rounds[3].decisions[2];
  EXPECT_EQ(d.kind, DecisionKind::after_draft);
  EXPECT_FLOAT_EQ(d.propensity, 0.25F);
  EXPECT_FLOAT_EQ(d.features[Feature::entropy], 3);
  EXPECT_EQ(read->rounds[3].decisions[0].action, (Action{ActionKind::climb, 4, 12}));
}

TEST_F(TrajectoryLogTest, ATornRecordEndsTheReadingAndIsCounted) {
  {
    auto log = TrajectoryLog::open(directory_, header());
    for (std::uint32_t i = 0; i < 5; ++i) log->append(round_of(i));
  }
  const std::string path = files()[0];
  const auto whole = read_file(path, 1 << 20);
  ASSERT_TRUE(write_file(path, std::span(*whole).first(whole->size() - 7)));
  auto read = read_trajectories(path);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->rounds.size(), 4U);
  EXPECT_GT(read->damaged, 0U);
  std::vector<std::byte> flipped = *whole;
  flipped[flipped.size() - 20] ^= std::byte{1};
  read = trajectories_from_bytes(flipped);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->rounds.size(), 4U);
}

TEST_F(TrajectoryLogTest, FilesRotateAndTheOldestGoes) {
  TrajectoryLogLimits limits;
  limits.file_bytes = 8192;
  limits.total_bytes = 4 * 8192;
  limits.buffer_bytes = 1024;
  auto log = TrajectoryLog::open(directory_, header(), limits);
  ASSERT_TRUE(log);
  for (std::uint32_t i = 0; i < 600; ++i) {
    ASSERT_TRUE(log->append(round_of(i)));
    std::size_t total = 0;
    for (const std::string& file : files()) {
      const auto bytes = std::filesystem::file_size(file);
      EXPECT_LE(bytes, limits.file_bytes);
      total += bytes;
    }
    ASSERT_LE(total, limits.total_bytes);
  }
  ASSERT_TRUE(log->flush());
  EXPECT_EQ(log->written(), 600U);
  EXPECT_GT(files().size(), 1U);
  std::uint32_t newest = 0;
  for (const std::string& file : files()) {
    const auto read = read_trajectories(file);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->damaged, 0U);
    for (const Trajectory& round : read->rounds) newest = std::max(newest, round.round);
  }
  EXPECT_EQ(newest, 599U) << "the newest rounds are never the ones dropped";
}

TEST_F(TrajectoryLogTest, GoesOnAfterTheHighestNumberAndLeavesOtherFilesAlone) {
  std::filesystem::create_directories(directory_);
  std::ofstream(directory_ + "/trajectory.x.lltj") << "not ours";
  { auto first = TrajectoryLog::open(directory_, header()); }
  { auto second = TrajectoryLog::open(directory_, header()); }
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/trajectory.1.lltj"));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/trajectory.2.lltj"));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/trajectory.x.lltj"));
}

TEST_F(TrajectoryLogTest, ADiskThatFailsIsCountedAndNotFatal) {
  TrajectoryLogLimits limits;
  limits.file_bytes = 8192;
  limits.total_bytes = 4 * 8192;
  limits.buffer_bytes = 1024;
  auto log = TrajectoryLog::open(directory_, header(), limits);
  ASSERT_TRUE(log);
  std::filesystem::remove_all(directory_);  // the next file cannot be made
  for (std::uint32_t i = 0; i < 100; ++i) log->append(round_of(i));
  log->flush();
  EXPECT_GT(log->dropped(), 0U);
  EXPECT_EQ(log->dropped() + log->written(), 100U);
}

TEST_F(TrajectoryLogTest, RefusesLimitsThatCannotWork) {
  TrajectoryLogLimits limits;
  limits.total_bytes = limits.file_bytes;
  EXPECT_FALSE(TrajectoryLog::open(directory_, header(), limits));
}

}  // namespace
}  // namespace leadline::policy
