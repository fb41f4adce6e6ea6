// Compression over the block store, held with ==: a chat whose turns are compressed gives the same tokens and
// logprobs fresh, and when the raw pages of its prompts come back from memory, disk or Redis, after restarts,
// over other rank counts, with and without speculation. Append-class compression computes pages behind
// compressed segments: they come back under their chain's own keys. One row per reuse class and tap.

#include <gtest/gtest.h>

#include <map>

#include "policy/fixed_policy.h"
#include "tests/support/redis_server.h"
#include "tests/support/scratch_directory.h"
#include "tests/support/stored_chat.h"

namespace leadline::tests {
namespace {

struct Row {
  const char* name;
  std::optional<float> threshold;
  bool hits = true;          // whether a prompt's beginning may come from pages
  std::uint32_t pinned = 0;  // tokens of a system prompt
};

std::string name_of(const ::testing::TestParamInfo<Row>& row) {
  return std::string(row.param.name) + (row.param.threshold ? "_by_threshold" : "") +
         (row.param.pinned > 0 ? "_pinned" : "");
}

// The first turn alone has a segment to compress where the method appends (exactness X4: from 320 tokens on),
// the last turn two.
ChatCase chat_of(const Row& row) {
  ChatCase chat{.number = 8, .kv = {}, .first = 400, .later = 45, .turns = 4};
  chat.kv.compression = row.name;
  chat.kv.pinned_prefix = row.pinned;
  if (row.threshold)
    chat.kv.threshold = row.threshold;
  else
    chat.kv.budget = 0.3F;
  return chat;
}

const Chat& fresh(const Row& row) {
  static std::map<std::string, Chat> chats;
  const std::string key = name_of({row, 0});
  const auto it = chats.find(key);
  return it != chats.end() ? it->second : chats[key] = fresh_chat(chat_of(row));
}

// As few pages as the longest turn and its compressed form need.
HarnessOptions small_pool() {
  HarnessOptions options;
  options.compression = true;
  options.pages = 80;
  options.host_pages = 0;
  options.max_model_len = 1264;
  return options;
}
constexpr std::size_t kFlushTokens = 1262;

// Of some 1,400 prompt tokens of the later turns.
void expect_hits(std::uint32_t tokens, const Row& row) {
  if (row.hits) {
    EXPECT_GT(tokens, 900U) << "it must have come from the tier";
  } else {
    EXPECT_EQ(tokens, 0U);
  }
}

std::size_t drafted(const Chat& chat) {
  std::size_t tokens = 0;
  for (const Answer& answer : chat.answers)
    for (const transport::SampledToken& token : answer.tokens) tokens += token.draft_layer > 0 ? 1 : 0;
  return tokens;
}

class CompressionStore : public ::testing::TestWithParam<Row> {};

TEST_P(CompressionStore, ThroughMemoryWithAndWithoutRoundsOfSpeculation) {
  for (const bool speculate : {false, true}) {
    SCOPED_TRACE(speculate);
    HarnessOptions options = small_pool();
    options.kv_memory_bytes = 256 << 20;
    if (speculate) options.policy = policy::make_static_policy(6, 5);
    auto worker = std::make_unique<WorkerHarness>(options);
    const Chat c = run_chat(chat_of(GetParam()), worker, [&] { flush_device(*worker, kFlushTokens); });
    expect_same(c, fresh(GetParam()));
    EXPECT_EQ(drafted(c) > 0, speculate);
    expect_hits(cached(c).memory, GetParam());
  }
}

TEST_P(CompressionStore, ThroughDiskOverRestartsRankCountsAndChunkings) {
  const ScratchDirectory disk;
  HarnessOptions options = small_pool();
  options.kv_disk_directory = disk.path();
  auto worker = std::make_unique<WorkerHarness>(options);
  const int ranks[] = {2, 4, 1, 2};
  const std::uint32_t chunks[] = {512, 61, 130, 512};
  int restarts = 0;
  const Chat c = run_chat(chat_of(GetParam()), worker, [&] {
    worker.reset();  // drains: what waits is stored
    options.ranks = ranks[restarts];
    options.step_tokens = chunks[restarts++];
    worker = std::make_unique<WorkerHarness>(options);
  });
  expect_same(c, fresh(GetParam()));
  expect_hits(cached(c).disk, GetParam());
}

TEST_P(CompressionStore, ThroughRedisToAnotherWorker) {
  static const auto server = RedisServer::make();  // until the program ends
  if (server == nullptr) GTEST_SKIP() << "no redis-server on this machine";
  HarnessOptions options = small_pool();
  options.kv_redis = server->url();
  auto worker = std::make_unique<WorkerHarness>(options);
  const Chat c = run_chat(chat_of(GetParam()), worker, [&] {
    worker->wait_stored();
    worker.reset();
    worker = std::make_unique<WorkerHarness>(options);
  });
  expect_same(c, fresh(GetParam()));
  expect_hits(cached(c).redis, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Methods, CompressionStore,
                         ::testing::Values(Row{"semanticache", 0.6F}, Row{"semanticache", 0.6F, true, 300},
                                           Row{"semanticache", std::nullopt}, Row{"snapkv", std::nullopt},
                                           Row{"windowkv", std::nullopt}, Row{"h2o", std::nullopt, false}),
                         name_of);

// The pages behind compressed segments are no exact ones, and none of another threshold.
TEST(CompressionChains, ShareWithNoOtherChain) {
  HarnessOptions options = small_pool();
  options.kv_memory_bytes = 256 << 20;
  WorkerHarness worker(options);
  const auto prompt = sample_prompt(60, 700);
  const auto cached_after = [&](std::optional<float> threshold, std::uint32_t pinned = 0) {
    ChatCase chat{.number = 8, .kv = {}};
    if (threshold) {
      chat.kv.compression = "semanticache";
      chat.kv.threshold = threshold;
      chat.kv.pinned_prefix = pinned;
    }
    const std::uint32_t tokens = worker.run({turn_of(prompt, chat)}).front().finish.cached_tokens;
    flush_device(worker, kFlushTokens);
    return tokens;
  };
  EXPECT_EQ(cached_after(0.6F), 0U);
  EXPECT_EQ(cached_after(std::nullopt), 0U) << "the exact chain";
  EXPECT_EQ(cached_after(0.7F), 0U) << "another threshold";
  EXPECT_EQ(cached_after(0.6F, 100), 0U) << "another system prompt's end";
  EXPECT_GT(cached_after(0.6F), 600U);
  EXPECT_GT(cached_after(std::nullopt), 600U);
}

// A snapshot's prompt is exact: an exact request finds its pages, and the other way round.
TEST(CompressionChains, SnapshotsShareThePromptWithExactRequests) {
  HarnessOptions options = small_pool();
  options.kv_memory_bytes = 256 << 20;
  WorkerHarness worker(options);
  ChatCase exact{.number = 8, .kv = {}}, snapshot = exact;
  snapshot.kv.compression = "semanticache";
  snapshot.kv.budget = 0.3F;
  const auto prompt = sample_prompt(61, 700);
  const Answer first = worker.run({turn_of(prompt, snapshot)}).front();
  EXPECT_EQ(first.finish.cached_tokens, 0U);
  flush_device(worker, kFlushTokens);
  const Answer answer = worker.run({turn_of(prompt, exact)}).front();
  EXPECT_EQ(answer.finish.kv.tokens_from(transport::KvSource::memory),
            688U);  // whole pages before the last prompt token
  HarnessOptions plain;
  plain.prefix_cache = false;
  WorkerHarness reference(plain);
  const Answer want = reference.run({turn_of(prompt, exact)}).front();
  ASSERT_EQ(answer.tokens.size(), want.tokens.size());
  for (std::size_t t = 0; t < want.tokens.size(); ++t) EXPECT_TRUE(answer.tokens[t] == want.tokens[t]) << t;
}

}  // namespace
}  // namespace leadline::tests
