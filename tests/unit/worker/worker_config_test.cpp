// Flags whose value is not simply taken.
#include "worker/worker_config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace leadline::worker {
namespace {

ParsedFlags parsed(std::vector<std::string> words) {
  words.insert(words.begin(), {"leadline-worker", "--model", "m"});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return parse_worker_flags(static_cast<int>(argv.size()), argv.data());
}

TEST(WorkerConfig, ARedisUrlMayStandInAFile) {
  const std::string path = ::testing::TempDir() + "leadline_redis_url";
  std::ofstream(path) << "redis://u:p@h:1/0\r\nsecond line\n";
  const ParsedFlags from_file = parsed({"--kv-redis", "@" + path});
  EXPECT_TRUE(from_file.run) << from_file.text;
  EXPECT_EQ(from_file.config.kv_redis, "redis://u:p@h:1/0");
  EXPECT_EQ(parsed({"--kv-redis", "redis://h:1"}).config.kv_redis, "redis://h:1");
  EXPECT_EQ(parsed({}).config.kv_redis, "");
  std::ofstream(path, std::ios::trunc) << "\n";
  const ParsedFlags empty = parsed({"--kv-redis", "@" + path});
  EXPECT_FALSE(empty.run);
  EXPECT_EQ(empty.exit_code, 2);
  EXPECT_NE(empty.text.find(path), std::string::npos) << empty.text;
  std::remove(path.c_str());
  const ParsedFlags missing = parsed({"--kv-redis", "@" + path});
  EXPECT_FALSE(missing.run);
  EXPECT_NE(missing.text.find("--kv-redis: cannot read " + path), std::string::npos) << missing.text;
}

TEST(WorkerConfig, AnAccessLogNeedsATier) {
  EXPECT_TRUE(parsed({"--kv-access-log", "f", "--kv-memory", "1MiB"}).run);
  EXPECT_FALSE(parsed({"--kv-access-log", "f", "--kv-memory", "1MiB", "--no-prefix-cache"}).run);
  const ParsedFlags none = parsed({"--kv-access-log", "f"});
  EXPECT_FALSE(none.run);
  EXPECT_NE(none.text.find("--kv-access-log f: no tier is on"), std::string::npos) << none.text;
}

TEST(WorkerConfig, ARankerNeedsMemoryOrDiskAndIsAShadowAtFirst) {
  const ParsedFlags shadow = parsed({"--kv-ranker", "f", "--kv-memory", "1MiB"});
  EXPECT_TRUE(shadow.run) << shadow.text;
  EXPECT_FALSE(shadow.config.kv_ranker_obeyed);
  EXPECT_TRUE(parsed({"--kv-ranker", "f", "--kv-memory", "1MiB", "--kv-ranker-mode", "obey"})
                  .config.kv_ranker_obeyed);
  EXPECT_FALSE(parsed({"--kv-ranker", "f", "--kv-memory", "1MiB", "--kv-ranker-mode", "maybe"}).run);
  const ParsedFlags none = parsed({"--kv-ranker", "f", "--kv-redis", "redis://h:1"});
  EXPECT_FALSE(none.run);
  EXPECT_NE(none.text.find("--kv-ranker f: neither memory nor disk is on"), std::string::npos) << none.text;
}

TEST(WorkerConfig, SizesTakeUnits) {
  const ParsedFlags flags = parsed({"--kv-memory", "3MiB", "--kv-disk-bytes=2GiB"});
  ASSERT_TRUE(flags.run) << flags.text;
  EXPECT_EQ(flags.config.kv_memory_bytes, 3 << 20);
  EXPECT_EQ(flags.config.kv_disk_bytes, std::int64_t{2} << 30);
  EXPECT_FALSE(parsed({"--kv-memory", "3 apples"}).run);
}

}  // namespace
}  // namespace leadline::worker
