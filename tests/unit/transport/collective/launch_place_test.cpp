// Who a rank is, from flags and environments: every launcher, half-told launches, precedence.

#include "transport/collective/launch_place.h"

#include <gtest/gtest.h>

#include <map>

namespace leadline::transport {
namespace {

EnvironmentReader says(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
}
const std::map<std::string, std::string> kLws = {
    {"LWS_GROUP_SIZE", "4"}, {"LWS_WORKER_INDEX", "3"}, {"LWS_LEADER_ADDRESS", "w-0.w.ns"}};

TEST(LaunchPlace, NobodySaid) {
  const auto place = launch_place({}, says({}));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->source, LaunchPlace::Source::none);
  EXPECT_EQ(place->world, 1);
}

TEST(LaunchPlace, FlagsWinOverTheEnvironment) {
  const auto place =
      launch_place({2, 3, "[fd00::1]:7200"}, says({{"LEADLINE_WORLD", "9"}, {"LEADLINE_RANK", "1"}}));
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_EQ(place->source, LaunchPlace::Source::flags);
  EXPECT_EQ(place->rank, 2);
  EXPECT_EQ(place->world, 3);
  EXPECT_EQ(place->host, "fd00::1");
  EXPECT_EQ(place->port, 7200);
  EXPECT_FALSE(place->listen_everywhere);
}

TEST(LaunchPlace, LeadlineNames) {
  const auto place = launch_place({}, says({{"LEADLINE_WORLD", "2"},
                                            {"LEADLINE_RANK", "1"},
                                            {"LEADLINE_RENDEZVOUS", "10.0.0.1:7101"},
                                            {"LWS_GROUP_SIZE", "9"}}));
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_EQ(place->source, LaunchPlace::Source::leadline);
  EXPECT_EQ(place->rank, 1);
  EXPECT_EQ(place->host, "10.0.0.1");
}

TEST(LaunchPlace, AWorldOfOneNeedsNoMeeting) {
  EXPECT_TRUE(launch_place({}, says({{"LEADLINE_WORLD", "1"}})));
  EXPECT_TRUE(launch_place({0, 1, ""}, says({})));
}

TEST(LaunchPlace, WhatLeaderWorkerSetSets) {
  auto place = leader_worker_set_place(says(kLws));
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_EQ(place->rank, 3);
  EXPECT_EQ(place->world, 4);
  EXPECT_EQ(place->host, "w-0.w.ns");
  EXPECT_EQ(place->port, kRendezvousPort);
  EXPECT_TRUE(place->listen_everywhere);
  auto other_port = kLws;
  other_port["LEADLINE_RENDEZVOUS_PORT"] = "7300";
  EXPECT_EQ(leader_worker_set_place(says(other_port))->port, 7300);
}

// Each error names the field and the value.
TEST(LaunchPlace, HalfALaunchIsAnError) {
  const auto refuses = [](const auto& place, const std::string& words) {
    ASSERT_FALSE(place);
    EXPECT_EQ(place.error().code, Errc::configuration);
    EXPECT_NE(place.error().message.find(words), std::string::npos) << place.error().message;
  };
  refuses(launch_place({1, 0, ""}, says({})), "need --world");
  refuses(launch_place({-1, 2, "h:1"}, says({})), "--rank=\"\"");
  refuses(launch_place({2, 2, "h:1"}, says({})), "--rank=\"2\": expected 0 to 1");
  refuses(launch_place({1, 2, "h"}, says({})), "--rendezvous=\"h\"");
  refuses(launch_place({1, 2, "h:70000"}, says({})), "port of --rendezvous=\"70000\"");
  refuses(launch_place({1, 2, "h:"}, says({})), "port of --rendezvous");
  refuses(launch_place({}, says({{"LEADLINE_WORLD", "2x"}})), "LEADLINE_WORLD=\"2x\"");
  refuses(launch_place({}, says({{"LEADLINE_WORLD", "2"}, {"LEADLINE_RANK", "1"}})),
          "LEADLINE_RENDEZVOUS=\"\"");
  refuses(leader_worker_set_place(says({{"LWS_GROUP_SIZE", "2"}, {"LWS_LEADER_ADDRESS", "l"}})),
          "LWS_WORKER_INDEX=\"\"");
  refuses(leader_worker_set_place(says({{"LWS_GROUP_SIZE", "2"}, {"LWS_WORKER_INDEX", "0"}})),
          "LWS_LEADER_ADDRESS");
}

TEST(HostPlace, LaunchersSayAndNonsenseDoesNotCount) {
  const HostPlace otherwise{1, 2};
  EXPECT_EQ(host_place(says({}), otherwise), otherwise);
  EXPECT_EQ(
      host_place(says({{"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "8"}}), otherwise),
      (HostPlace{3, 8}));
  EXPECT_EQ(host_place(says({{"SLURM_LOCALID", "1"}, {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"}}), otherwise),
            (HostPlace{1, 4}));
  EXPECT_EQ(
      host_place(says({{"OMPI_COMM_WORLD_LOCAL_RANK", "8"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "8"}}), otherwise),
      otherwise);
}

}  // namespace
}  // namespace leadline::transport
