// What `leadline kv gc` chooses, and that taking it away keeps the count that servers share.
#include "kvstore/disk_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "kvstore/disk_tier.h"
#include "tests/support/sample_block.h"
#include "tests/support/scratch_directory.h"

namespace leadline::kvstore {
namespace {

using tests::sample_block;
using Found = DiskFiles::Found;
constexpr std::int64_t kSecond = 1'000'000'000;

Found found(int chain, int index, std::int64_t modified_s, std::uint64_t expires = 0) {
  Found f;
  f.header = tests::sample_header(chain, index, 0);
  f.header->expires_unix_s = expires;
  f.id = f.header->id;
  f.size = 4000;
  f.modified_ns = modified_s * kSecond;
  return f;
}

TEST(ChooseGarbage, ExpiredAndOldOnesDeepestFirst) {
  const std::vector<Found> blocks = {found(1, 0, 100), found(1, 1, 900, 950), found(1, 2, 900, 2000),
                                     found(2, 0, 500), found(2, 1, 100)};
  EXPECT_EQ(choose_garbage(blocks, {}, 1000), (std::vector<std::size_t>{1}));
  GarbageRules old;
  old.older_than_s = 600;
  auto chosen = choose_garbage(blocks, old, 1000);
  EXPECT_EQ(chosen.back(), 0U) << "the shallowest last";
  std::ranges::sort(chosen);
  EXPECT_EQ(chosen, (std::vector<std::size_t>{0, 1, 4}));
}

TEST(ChooseGarbage, MaxBytesTakesChainsFromTheirEnds) {
  std::vector<Found> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(found(1, i, 10 + i));  // the head is the oldest
  blocks.push_back(found(2, 0, 1));
  GarbageRules rules;
  rules.max_bytes = 2 * file_cost(4000);
  EXPECT_EQ(choose_garbage(blocks, rules, 1000), (std::vector<std::size_t>{4, 3, 2}));
  rules.max_bytes = 0;
  EXPECT_EQ(choose_garbage(blocks, rules, 1000).size(), 5U);
}

TEST(ChooseGarbage, OtherModelsAndDamageStay) {
  std::vector<Found> blocks = {found(1, 0, 1), found(1, 1, 1)};
  blocks[1].header.reset();
  GarbageRules rules;
  rules.max_bytes = 0;
  rules.model = "another";
  EXPECT_TRUE(choose_garbage(blocks, rules, 1000).empty());
  rules.model = "0123";
  EXPECT_EQ(choose_garbage(blocks, rules, 1000), (std::vector<std::size_t>{0}));
}

std::vector<Found> all_of(const DiskFiles& files) {
  std::vector<Found> blocks;
  files.scan([&](Found f) { return blocks.push_back(std::move(f)), true; });
  return blocks;
}

TEST(RemoveBlocks, BesideAServerItsCountGoesDownAndItMisses) {
  const tests::ScratchDirectory directory;
  DiskTierOptions options;
  options.directory = directory.path();
  options.capacity_bytes = 1 << 20;
  auto tier = DiskTier::open(options);
  const std::atomic<bool> stop{false};
  (*tier)->scan(stop);
  const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::seconds(5); };
  for (int i = 0; i < 6; ++i) ASSERT_EQ((*tier)->put(sample_block(1, i), soon()), PutOutcome::stored);
  const std::uint64_t before = (*tier)->usage().bytes;
  auto files = DiskFiles::open(directory.path());
  const auto blocks = all_of(**files);
  GarbageRules rules;
  rules.max_bytes = 3 * file_cost(blocks[0].size);
  const auto chosen = choose_garbage(blocks, rules, 1);
  ASSERT_EQ(chosen.size(), 3U);
  const auto removed = remove_blocks(**files, blocks, chosen);
  ASSERT_TRUE(removed.has_value());
  EXPECT_EQ(removed->blocks, 3U);
  EXPECT_EQ((*tier)->usage().bytes, before - removed->bytes);
  for (int i = 0; i < 6; ++i) {
    const BlockId id = sample_block(1, i)->header().id;
    TierRead read;
    (*tier)->get({&id, 1}, {&read, 1}, soon());
    EXPECT_EQ(read.outcome, i < 3 ? GetOutcome::hit : GetOutcome::miss) << i;
  }
  const auto again = remove_blocks(**files, blocks, chosen);
  EXPECT_EQ(again->blocks, 0U);
  EXPECT_EQ(again->gone, 3U);
  EXPECT_EQ((*tier)->usage().bytes, before - removed->bytes) << "bytes are given back once";
}

TEST(RemoveBlocks, AloneItCountsAnewAndQuarantineCanBeEmptied) {
  const tests::ScratchDirectory directory;
  auto files = DiskFiles::open(directory.path());
  for (int i = 0; i < 3; ++i) ASSERT_EQ((*files)->write(sample_block(1, i)).outcome, FileOutcome::ok);
  EXPECT_FALSE((*files)->quarantine(sample_block(1, 2)->header().id).empty());
  const auto blocks = all_of(**files);
  ASSERT_TRUE(remove_blocks(**files, blocks, {}).has_value());
  std::uint64_t counted = 0;
  std::ifstream usage(directory.path() + "/v1/usage", std::ios::binary);
  usage.read(reinterpret_cast<char*>(&counted), sizeof counted);
  EXPECT_EQ(counted, 3 * file_cost(blocks[0].size));
  const auto emptied = empty_quarantine(**files);
  EXPECT_EQ(emptied->blocks, 1U);
  EXPECT_EQ((*files)->quarantined_bytes(), 0U);
}

TEST(ParseAge, Units) {
  EXPECT_EQ(parse_age("90"), 90U);
  EXPECT_EQ(parse_age("90s"), 90U);
  EXPECT_EQ(parse_age("15m"), 900U);
  EXPECT_EQ(parse_age("2h"), 7200U);
  EXPECT_EQ(parse_age("7d"), 604800U);
  for (const char* bad : {"", "h", "7w", "-1", "1.5h", "99999999999999999999", "9999999999999999999d"})
    EXPECT_FALSE(parse_age(bad).has_value()) << bad;
}

}  // namespace
}  // namespace leadline::kvstore
