#include "monitoring/process_health.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leadline::monitoring {
namespace {

using nlohmann::json;
using std::chrono::seconds;

TEST(ProcessHealth, StartsNeitherReadyNorStartedButAlive) {
  const ProcessHealth health;
  EXPECT_TRUE(health.live().ok);
  EXPECT_FALSE(health.ready().ok);
  EXPECT_FALSE(health.startup().ok);
  EXPECT_EQ(json::parse(health.startup().json)["phase"], "starting");
}

TEST(ProcessHealth, StartupTellsPhaseAndProgress) {
  ProcessHealth health;
  health.set_phase(StartupPhase::loading);
  health.set_progress(25, 100);
  const json body = json::parse(health.startup().json);
  EXPECT_EQ(body["phase"], "loading");
  EXPECT_EQ(body["loaded_bytes"], 25);
  EXPECT_EQ(body["total_bytes"], 100);
  EXPECT_DOUBLE_EQ(body["progress"], 0.25);
  health.set_progress(300, 100);
  EXPECT_DOUBLE_EQ(json::parse(health.startup().json)["progress"], 1.0);
}

TEST(ProcessHealth, StartupStaysCompleteWhileDraining) {
  ProcessHealth health;
  health.set_phase(StartupPhase::ready);
  EXPECT_TRUE(health.ready().ok);
  health.set_phase(StartupPhase::draining);
  EXPECT_TRUE(health.startup().ok);
  EXPECT_FALSE(health.ready().ok);
  EXPECT_TRUE(health.live().ok);
  EXPECT_EQ(json::parse(health.ready().json)["reason"], "phase is draining");
}

TEST(ProcessHealth, ReadyNeedsAvailability) {
  ProcessHealth health;
  health.set_phase(StartupPhase::ready);
  health.set_available(false, "no ready worker");
  EXPECT_FALSE(health.ready().ok);
  EXPECT_EQ(json::parse(health.ready().json)["reason"], "no ready worker");
  EXPECT_TRUE(health.live().ok);
  health.set_available(true);
  EXPECT_TRUE(health.ready().ok);
}

TEST(ProcessHealth, AStalledStepIsNotAliveAndAnIdleProcessIs) {
  ProcessHealth health;
  health.set_phase(StartupPhase::ready);
  health.set_stall_limit(seconds(10));
  const auto now = ProcessHealth::Clock::now();
  health.step_started(now);
  EXPECT_TRUE(health.live(now + seconds(9)).ok);
  EXPECT_NEAR(health.step_age_seconds(now + seconds(9)), 9.0, 1e-6);
  EXPECT_FALSE(health.live(now + seconds(11)).ok);
  EXPECT_FALSE(health.ready(now + seconds(11)).ok);
  EXPECT_EQ(json::parse(health.ready(now + seconds(11)).json)["reason"], "stalled");
  health.step_ended();
  EXPECT_TRUE(health.live(now + seconds(1000)).ok);
  EXPECT_EQ(json::parse(health.live().json)["steps"], 1);
}

TEST(ProcessHealth, FailedIsNotAlive) {
  ProcessHealth health;
  health.set_phase(StartupPhase::failed);
  EXPECT_FALSE(health.live().ok);
}

}  // namespace
}  // namespace leadline::monitoring
