#include "deploy/cli/up_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace leadline::deploy {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

UpOptions parse(std::vector<std::string> words) {
  UpOptions options;
  options.model = "/tmp";
  CLI::App app;
  CLI::App& up = *app.add_subcommand("up");
  add_up_flags(up, options);
  words.insert(words.begin(), "up");
  std::reverse(words.begin(), words.end());
  app.parse(words);
  return options;
}

UpPlan plan_for(int workers) {
  UpPlan plan{"/bin/x", "/run/secret", 8000, 9000, {}};
  for (int w = 0; w < workers; ++w) plan.worker_ports.push_back(7000 + w);
  return plan;
}

std::string joined(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
  return text;
}

TEST(UpOptions, DefaultsAreOneWorkerOfTwoRanksOnLoopback) {
  const UpOptions options = parse({});
  EXPECT_EQ(options.workers, 1);
  EXPECT_EQ(options.ranks, 2);
  EXPECT_EQ(options.host, "127.0.0.1");
  EXPECT_FALSE(options.port_given);
  EXPECT_EQ(find_conflict(options), "");
}

TEST(UpOptions, SizesHaveUnits) {
  EXPECT_EQ(parse({"--kv-pool", "2MiB"}).kv_pool_bytes, 2 << 20);
  EXPECT_EQ(parse({"--kv-pool", "4096"}).kv_pool_bytes, 4096);
}

TEST(UpOptions, WhatConcernsAGpuReachesTheWorker) {
  const UpPlan plan = plan_for(1);
  const std::string command =
      joined(worker_command(parse({"--device", "cuda", "--gpu-memory-utilization", "0.75", "--no-graphs",
                                   "--poison", "--weights", "fp8", "--kv-dtype", "int8"}),
                            plan, 0));
  EXPECT_THAT(command, HasSubstr("--device cuda --gpu-memory-utilization 0.75 --no-graphs --poison"));
  EXPECT_THAT(command, HasSubstr("--weights fp8 "));
  EXPECT_THAT(command, HasSubstr("--kv-dtype int8 "));
  EXPECT_THAT(joined(worker_command(parse({"--device", "cpu"}), plan, 0)), Not(HasSubstr("gpu")));
  EXPECT_THROW(parse({"--gpu-memory-utilization", "1.5"}), CLI::ParseError);
}

TEST(UpOptions, DecisionsAreLoggedBelowADirectoryPerWorker) {
  const std::vector<std::string> words = {"--experience",          "/x", "--explore", "0.1", "--exits", "2,4",
                                          "--no-speculation-guard"};
  EXPECT_THAT(joined(worker_command(parse(words), plan_for(1), 0)),
              HasSubstr("--exits 2,4 --no-speculation-guard --experience /x --explore 0.1 "));
  std::vector<std::string> two = words;
  two.insert(two.end(), {"--workers", "2"});
  EXPECT_THAT(joined(worker_command(parse(two), plan_for(2), 1)), HasSubstr("--experience /x/1 "));
  EXPECT_THAT(joined(worker_command(parse({}), plan_for(1), 0)), Not(HasSubstr("experience")));
  EXPECT_THAT(find_conflict(parse({"--explore", "0.1"})), HasSubstr("--experience"));
}

TEST(UpOptions, WrongValuesAreRefused) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"--ranks", "0"},
                                                                                     {"--weights", "int3"},
                                                                                     {"--port", "70000"},
                                                                                     {"--model", "/nowhere"},
                                                                                     {"--frobnicate"}}) {
    EXPECT_THROW(parse(words), CLI::ParseError) << joined(words);
  }
}

TEST(UpOptions, ConflictsNameBothFlags) {
  UpOptions options = parse({"--port", "9001", "--admin-port", "9000", "--workers", "2"});
  EXPECT_TRUE(options.port_given);
  EXPECT_THAT(find_conflict(options), HasSubstr("--port 9001"));
  options.port = 9003;
  EXPECT_EQ(find_conflict(options), "");
  options.tls_cert = "cert.pem";
  EXPECT_THAT(find_conflict(options), HasSubstr("--tls-key"));
}

TEST(UpOptions, DescriptionNamesEveryOption) {
  const std::string text = describe(parse({}));
  for (const char* name :
       {"model", "ranks", "workers", "port", "admin-port", "weights", "kv-dtype", "kv-pool", "max-model-len",
        "max-seqs", "threads", "device", "api-key-file", "tls"}) {
    EXPECT_THAT(text, HasSubstr("  " + std::string(name) + " "));
  }
}

TEST(UpOptions, CoordinatorKnowsEveryWorkerAndOnlyWhatWasAsked) {
  const auto command = coordinator_command(parse({"--workers", "2"}), plan_for(2));
  EXPECT_THAT(joined(command), HasSubstr("--worker 127.0.0.1:7000 --worker 127.0.0.1:7001"));
  EXPECT_THAT(joined(command), HasSubstr("--port 8000 --admin-port 9000"));
  EXPECT_THAT(command, Not(Contains("--tls-cert")));
  EXPECT_THAT(command, Not(Contains("--max-model-len")));
}

TEST(UpOptions, OneRankNeedsNoLauncherAndSeveralDo) {
  const auto one = worker_command(parse({"--ranks", "1"}), plan_for(2), 1);
  EXPECT_EQ(one[0], "/bin/x/leadline-worker");
  EXPECT_THAT(joined(one), HasSubstr("--listen 127.0.0.1:7001"));
  EXPECT_THAT(joined(one), HasSubstr("--admin-port 9002"));
  EXPECT_THAT(joined(one), HasSubstr("--worker-index 1"));
  const auto four = worker_command(parse({"--ranks", "4"}), plan_for(1), 0);
  EXPECT_THAT(joined(four),
              testing::StartsWith("mpirun -n 4 --bind-to none --oversubscribe /bin/x/leadline run-rank "
                                  "/bin/x/leadline-worker --model /tmp "));
}

TEST(UpOptions, TheStoreIsOnUnlessItIsTurnedOff) {
  const std::string by_default = joined(worker_command(parse({}), plan_for(1), 0));
  EXPECT_THAT(by_default, HasSubstr("--kv-memory 1073741824"));
  EXPECT_THAT(by_default, HasSubstr("/leadline/kv --kv-disk-bytes 8589934592"));
  const std::string off =
      joined(worker_command(parse({"--kv-memory", "0", "--kv-disk-bytes", "0"}), plan_for(1), 0));
  EXPECT_THAT(off, testing::Not(HasSubstr("--kv-memory")));
  EXPECT_THAT(off, testing::Not(HasSubstr("--kv-disk")));
  const UpOptions redis =
      parse({"--kv-disk", "/d", "--kv-disk-bytes", "2GiB", "--kv-redis", "rediss://u:geheim@h:1/2"});
  EXPECT_THAT(joined(worker_command(redis, plan_for(1), 0)),
              HasSubstr("--kv-disk /d --kv-disk-bytes 2147483648 --kv-redis rediss://u:geheim@h:1/2"));
  EXPECT_THAT(describe(redis), HasSubstr("rediss://u:***@h:1/2"));
  EXPECT_THAT(describe(redis), testing::Not(HasSubstr("geheim")));
}

TEST(UpOptions, AnAccessLogNeedsATierAndAPlacePerWorker) {
  const UpOptions one = parse({"--kv-access-log", "/tmp/no-directory.kvlog"});
  EXPECT_EQ(find_conflict(one), "");
  EXPECT_THAT(joined(worker_command(one, plan_for(1), 0)),
              HasSubstr("--kv-access-log /tmp/no-directory.kvlog"));
  EXPECT_THAT(find_conflict(parse({"--kv-access-log", "/tmp/no-directory.kvlog", "--workers", "2"})),
              HasSubstr("several workers need a directory"));
  EXPECT_EQ(find_conflict(parse({"--kv-access-log", "/tmp", "--workers", "2"})), "");
  EXPECT_THAT(find_conflict(parse({"--kv-access-log", "/tmp", "--kv-memory", "0", "--kv-disk-bytes", "0"})),
              HasSubstr("no tier is on"));
}

TEST(UpOptions, ARankerGoesToWorkersAndNeedsMemoryOrDisk) {
  EXPECT_THAT(joined(worker_command(parse({"--kv-ranker", "/r"}), plan_for(1), 0)),
              HasSubstr("--kv-ranker /r --kv-ranker-mode shadow"));
  EXPECT_THAT(
      joined(worker_command(parse({"--kv-ranker", "/r", "--kv-ranker-mode", "obey"}), plan_for(1), 0)),
      HasSubstr("--kv-ranker /r --kv-ranker-mode obey"));
  EXPECT_THAT(find_conflict(parse({"--kv-ranker", "/r", "--kv-memory", "0", "--kv-disk-bytes", "0"})),
              HasSubstr("neither memory nor disk is on"));
}

}  // namespace
}  // namespace leadline::deploy
