// KV that outlives the request, held with ==: tokens and logprobs after a hit from any tier equal those
// computed fresh, across turns, restarts and rank counts; and what must not be shared is not. Device pages
// are few here, so that what comes back really comes from a tier.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "policy/fixed_policy.h"
#include "tests/support/scratch_directory.h"
#include "tests/support/stored_chat.h"

namespace leadline::tests {
namespace {

using transport::Generate;

// The chat of this number, computed once.
const Chat& fresh(int number, int turns = 4) {
  static std::map<std::pair<int, int>, Chat> chats;
  const auto it = chats.find({number, turns});
  if (it != chats.end()) return it->second;
  return chats[{number, turns}] = fresh_chat({.number = number, .kv = {}, .turns = turns});
}

template <typename Between>
Chat chat(int number, std::unique_ptr<WorkerHarness>& worker, const Between& between, int turns = 4) {
  return run_chat({.number = number, .kv = {}, .turns = turns}, worker, between);
}

Generate turn_of(const std::vector<std::int32_t>& history, int number) {
  return tests::turn_of(history, {.number = number, .kv = {}});
}

HarnessOptions small_pool() {
  HarnessOptions options;
  options.pages = 29;  // flush_device fills them all
  options.host_pages = 0;
  options.max_model_len = 450;
  return options;
}

class FromMemory : public ::testing::TestWithParam<int> {};
TEST_P(FromMemory, EveryTurnReturnsTheSameBits) {
  HarnessOptions options = small_pool();
  options.ranks = GetParam();
  options.kv_memory_bytes = 256 << 20;
  auto worker = std::make_unique<WorkerHarness>(options);
  const Chat c = chat(1, worker, [&] { flush_device(*worker); });
  expect_same(c, fresh(1));
  EXPECT_GT(cached(c).memory, 300U) << "it must have come from memory";
}
INSTANTIATE_TEST_SUITE_P(Ranks, FromMemory, ::testing::Values(1, 2, 4));

std::vector<std::filesystem::path> block_files(const ScratchDirectory& disk) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::recursive_directory_iterator(disk.path() + "/v1/blocks"))
    if (file.is_regular_file()) files.push_back(file.path());
  return files;
}

TEST(WorkerStore, TurnsOverDiskSurviveRestartsAndOtherRankCounts) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.kv_disk_directory = disk.path();
  auto worker = std::make_unique<WorkerHarness>(options);
  const int ranks[] = {2, 4, 1, 2};
  int restarts = 0;
  const Chat c = chat(2, worker, [&] {
    worker.reset();  // drains: what waits is stored
    options.ranks = ranks[restarts++];
    worker = std::make_unique<WorkerHarness>(options);
  });
  expect_same(c, fresh(2));
  EXPECT_GT(cached(c).disk, 300U) << "it must have come from disk";
  EXPECT_EQ(c.answers[1].finish.cached_tokens, c.answers[1].finish.kv.tokens_from(transport::KvSource::disk));
  EXPECT_GT(c.answers[1].finish.kv.tokens_from(transport::KvSource::disk), 140U);
}

TEST(WorkerStore, T1_AFullBatchOfChatsSpillsAndReturns) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.pages = 40;
  options.kv_memory_bytes = 8 << 20;  // some of it only
  options.kv_disk_directory = disk.path();
  WorkerHarness worker(options);
  std::vector<std::vector<std::int32_t>> histories;
  for (int i = 0; i < 8; ++i) histories.push_back(sample_prompt(300 + i, 120));
  std::vector<std::vector<Answer>> rounds;
  for (int round = 0; round < 3; ++round) {
    std::vector<Generate> requests;
    for (int i = 0; i < 8; ++i) requests.push_back(turn_of(histories[static_cast<std::size_t>(i)], i));
    rounds.push_back(worker.run(requests));
    for (std::size_t i = 0; i < 8; ++i) {
      for (const auto& token : rounds.back()[i].tokens) histories[i].push_back(token.token);
      const auto more = sample_prompt(static_cast<int>(900 + 10 * static_cast<std::size_t>(round) + i), 20);
      histories[i].insert(histories[i].end(), more.begin(), more.end());
    }
    worker.wait_stored();
  }
  HarnessOptions plain;
  plain.prefix_cache = false;
  WorkerHarness reference(plain);
  std::vector<std::vector<std::int32_t>> again;
  for (int i = 0; i < 8; ++i) again.push_back(sample_prompt(300 + i, 120));
  std::uint32_t from_tiers = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<Generate> requests;
    for (int i = 0; i < 8; ++i) requests.push_back(turn_of(again[static_cast<std::size_t>(i)], i));
    const auto want = reference.run(requests);
    for (std::size_t i = 0; i < 8; ++i) {
      const Answer& got = rounds[static_cast<std::size_t>(round)][i];
      ASSERT_EQ(got.tokens.size(), want[i].tokens.size());
      for (std::size_t t = 0; t < want[i].tokens.size(); ++t)
        ASSERT_TRUE(got.tokens[t] == want[i].tokens[t])
            << "round " << round << " chat " << i << " token " << t;
      from_tiers += got.finish.kv.tokens_from(transport::KvSource::memory) +
                    got.finish.kv.tokens_from(transport::KvSource::disk);
      for (const auto& token : want[i].tokens) again[i].push_back(token.token);
      const auto more = sample_prompt(static_cast<int>(900 + 10 * static_cast<std::size_t>(round) + i), 20);
      again[i].insert(again[i].end(), more.begin(), more.end());
    }
  }
  EXPECT_GT(from_tiers, 200U);
}

TEST(WorkerStore, T2_DamagedBlocksAreMissesNeverWrongAnswers) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.kv_disk_directory = disk.path();
  auto worker = std::make_unique<WorkerHarness>(options);
  int damage = 0;
  const Chat c = chat(3, worker, [&] {
    worker.reset();
    for (const auto& file : block_files(disk)) {
      if (++damage % 3 != 0) continue;
      std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekp(200 + 977 * (damage % 40));
      bytes.put('\x5A');
    }
    worker = std::make_unique<WorkerHarness>(options);
  });
  EXPECT_GT(damage, 20);
  expect_same(c, fresh(3));
}

// Every turn cold, after a hit, after a restart and on other rank counts, with drafts and without.
struct Way {
  int ranks, other_ranks;
  bool speculates;
};
class ColdHitRestart : public ::testing::TestWithParam<Way> {};
TEST_P(ColdHitRestart, TheSameBits) {
  const Way way = GetParam();
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.ranks = way.ranks;
  options.kv_memory_bytes = 256 << 20;
  options.kv_disk_directory = disk.path();
  if (way.speculates) options.policy = policy::make_static_policy(6, 4);
  auto worker = std::make_unique<WorkerHarness>(options);
  const Chat cold = chat(
      4, worker, [] {}, 3);
  expect_same(cold, fresh(4, 3));
  flush_device(*worker);
  const Chat hit = chat(
      4, worker, [&] { flush_device(*worker); }, 3);
  expect_same(hit, fresh(4, 3));
  EXPECT_GT(cached(hit).memory, 300U);
  options.kv_memory_bytes = 0;
  for (const int ranks : {way.ranks, way.other_ranks}) {
    worker.reset();
    options.ranks = ranks;
    worker = std::make_unique<WorkerHarness>(options);
    const Chat restarted = chat(
        4, worker, [&] { flush_device(*worker); }, 3);
    expect_same(restarted, fresh(4, 3));
    EXPECT_GT(cached(restarted).disk, 300U) << ranks << " ranks";
  }
}
INSTANTIATE_TEST_SUITE_P(Ways, ColdHitRestart,
                         ::testing::Values(Way{1, 2, false}, Way{1, 4, true}, Way{2, 1, true},
                                           Way{4, 2, false}, Way{4, 1, true}));

// More requests than fetches may be under way, each with all its blocks in a tier and pages for one at a
// time.
TEST(WorkerStore, T4_ManyWaitingHitsDoNotStarveThoseThatRun) {
  HarnessOptions options = small_pool();
  options.kv_memory_bytes = 256 << 20;
  WorkerHarness worker(options);
  std::vector<Generate> requests;
  for (int i = 0; i < 40; ++i) {
    requests.push_back(turn_of(sample_prompt(600 + i, 200), i));
    requests.back().max_tokens = 3;
  }
  const auto first = worker.run(requests);
  worker.wait_stored();
  const auto second = worker.run(requests);
  std::uint32_t returned = 0;
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i].tokens.size(), second[i].tokens.size());
    for (std::size_t t = 0; t < first[i].tokens.size(); ++t)
      ASSERT_TRUE(first[i].tokens[t] == second[i].tokens[t]) << "request " << i << " token " << t;
    returned += second[i].finish.kv.tokens_from(transport::KvSource::memory) > 0;
  }
  EXPECT_GT(returned, 20U);
}

// One rank's blocks are gone from some depth on, other depths of the other: the hit is the shortest.
TEST(WorkerStore, T11_RanksThatFindDifferentBlocksAgree) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.ranks = 2;
  options.kv_disk_directory = disk.path();
  auto worker = std::make_unique<WorkerHarness>(options);
  int seen = 0;
  const Chat c = chat(5, worker, [&] {
    worker.reset();
    for (const auto& file : block_files(disk)) {
      const bool head_one = file.string().ends_with("-1.kvb");
      if (++seen % (head_one ? 5 : 11) == 0) std::filesystem::remove(file);
    }
    worker = std::make_unique<WorkerHarness>(options);
  });
  EXPECT_GT(seen, 40);
  expect_same(c, fresh(5));
}

TEST(WorkerStore, AnotherTenantFindsNothing) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.kv_memory_bytes = 64 << 20;
  options.kv_disk_directory = disk.path();
  WorkerHarness worker(options);
  Generate mine = turn_of(sample_prompt(40, 200), 0);
  mine.tenant_salt.fill(1);
  const Answer first = worker.run({mine}).front();
  flush_device(worker);
  Generate guess = mine;
  guess.tenant_salt.fill(2);
  const Answer other = worker.run({guess}).front();
  EXPECT_EQ(other.finish.cached_tokens, 0U) << "the same tokens of another tenant";
  flush_device(worker);
  EXPECT_GT(worker.run({mine}).front().finish.kv.tokens_from(transport::KvSource::memory), 100U);
}

TEST(WorkerStore, WhatMayNotBeStoredIsNot) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.kv_disk_directory = disk.path();
  WorkerHarness worker(options);
  Generate secret = turn_of(sample_prompt(41, 200), 0);
  secret.kv.store = false;
  worker.run({secret});
  flush_device(worker);
  EXPECT_EQ(worker.run({secret}).front().finish.cached_tokens, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(disk.path() + "/v1/blocks"));
}

TEST(WorkerStore, AHitEndsBeforeTheLastPromptToken) {
  HarnessOptions options = small_pool();
  options.kv_memory_bytes = 64 << 20;
  WorkerHarness worker(options);
  const Generate g = turn_of(sample_prompt(42, 160), 0);  // ten whole pages
  const Answer first = worker.run({g}).front();
  flush_device(worker);
  const Answer second = worker.run({g}).front();
  EXPECT_EQ(second.finish.kv.tokens_from(transport::KvSource::memory), 144U);
  ASSERT_EQ(first.tokens.size(), second.tokens.size());
  for (std::size_t t = 0; t < first.tokens.size(); ++t) EXPECT_TRUE(first.tokens[t] == second.tokens[t]);
}

}  // namespace
}  // namespace leadline::tests
