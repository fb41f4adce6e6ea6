// A lossy KV codec, held with ==: what it loses is decided by a token's place alone (exactness X5), so
// answers are the same alone and in a batch, for any chunking, over 1, 2, 4 ranks, after prefix hits,
// preemption, eviction to tiers and restarts; and a lossless one is the same as none.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "policy/fixed_policy.h"
#include "tests/support/exactness_case.h"
#include "tests/support/scratch_directory.h"
#include "tests/support/stored_chat.h"

namespace leadline::tests {
namespace {

using transport::Generate;

// Lengths around the groups of 128 tokens, and answers that cross into the next.
std::vector<Generate> requests() {
  const std::size_t lengths[] = {100, 128, 129, 256, 257, 300};
  std::vector<Generate> all;
  for (int i = 0; i < 6; ++i) {
    Generate g;
    g.prompt = sample_prompt(i + 20, lengths[i]);
    g.max_tokens = i % 3 == 0 ? 40 : 10;
    g.ignore_eos = true;
    g.sampling.seed = 5 + static_cast<std::uint64_t>(i);
    g.sampling.temperature = i % 2 == 0 ? 0.0F : 0.8F;
    g.sampling.top_logprobs = 2;
    all.push_back(std::move(g));
  }
  return all;
}

HarnessOptions with(const std::string& codec) {
  HarnessOptions options;
  options.kv_codec = codec;
  options.max_model_len = 512;
  return options;
}

// One rank, one request at a time, no prefix cache.
const std::vector<Answer>& baseline(const std::string& codec) {
  static std::map<std::string, std::vector<Answer>> all;
  if (const auto it = all.find(codec); it != all.end()) return it->second;
  HarnessOptions options = with(codec);
  options.prefix_cache = false;
  WorkerHarness worker(options);
  std::vector<Answer> answers;
  for (Generate& g : requests()) answers.push_back(worker.run({std::move(g)}).front());
  return all[codec] = std::move(answers);
}

double difference(const std::vector<Answer>& a, const std::vector<Answer>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::fabs(double{a[i].tokens[0].logprob} - double{b[i].tokens[0].logprob}));
  return most;
}

TEST(KvCodec, ChangesAnswersALittleAndLosslessNone) {
  expect_same(baseline("lossless"), baseline("none"));
  for (const char* codec : {"int8", "int4"}) {
    // Up to 128 tokens nothing is quantised.
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(baseline(codec)[i].tokens[0].logprob, baseline("none")[i].tokens[0].logprob);
    const double moved = difference(baseline(codec), baseline("none"));
    EXPECT_GT(moved, 0) << codec << " must take effect on the device copy";
    EXPECT_LT(moved, 3) << codec;
  }
}

class Lossy : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Codecs, Lossy, ::testing::Values("int8", "int4"));

TEST_P(Lossy, InABatchAndForAnyChunking) {
  for (std::uint32_t step_tokens : {61U, 512U}) {
    HarnessOptions options = with(GetParam());
    options.step_tokens = step_tokens;
    options.max_sequences = 16;
    options.min_chunk_tokens = 1;
    WorkerHarness worker(options);
    SCOPED_TRACE(step_tokens);
    expect_same(worker.run(requests()), baseline(GetParam()));
  }
}

TEST_P(Lossy, OverRanks) {
  for (int ranks : {2, 4}) {
    HarnessOptions options = with(GetParam());
    options.ranks = ranks;
    WorkerHarness worker(options);
    expect_same(worker.run(requests()), baseline(GetParam()));
  }
}

TEST_P(Lossy, AfterAPrefixHitInWholeGroups) {
  WorkerHarness worker(with(GetParam()));
  worker.run(requests());
  const std::vector<Answer> again = worker.run(requests());
  expect_same(again, baseline(GetParam()));
  const std::uint32_t hits[] = {0, 0, 128, 128, 256, 256};
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i].finish.cached_tokens, hits[i]) << i;
}

TEST_P(Lossy, WhetherPagesWereEvictedOrNot) {
  const ScratchDirectory disk;
  HarnessOptions options = with(GetParam());
  options.pages = 33;  // one of the long requests at a time: each run evicts the one before
  options.host_pages = 0;
  options.kv_memory_bytes = 1 << 20;
  options.kv_disk_directory = disk.path();
  std::uint32_t from_tiers = 0;
  for (int life = 0; life < 2; ++life) {
    WorkerHarness worker(options);
    for (int round = 0; round < 2; ++round) {
      std::vector<Answer> answers;
      for (Generate& g : requests()) {
        answers.push_back(worker.run({std::move(g)}).front());
        worker.wait_stored();
        from_tiers += answers.back().finish.kv.tokens_from(transport::KvSource::memory) +
                      answers.back().finish.kv.tokens_from(transport::KvSource::disk);
      }
      expect_same(answers, baseline(GetParam()));
    }
  }
  EXPECT_GT(from_tiers, 600U) << "it must have come from tiers";
}

TEST_P(Lossy, Preempted) {
  for (std::uint32_t host_pages : {0U, 256U}) {
    HarnessOptions options = with(GetParam());
    options.pages = 60;
    options.host_pages = host_pages;
    WorkerHarness worker(options);
    expect_same(worker.run(requests()), baseline(GetParam()));
  }
}

TEST_P(Lossy, WithSpeculation) {
  HarnessOptions options = with(GetParam());
  options.policy = policy::make_static_policy(6, 4);
  WorkerHarness worker(options);
  expect_same(worker.run(requests()), baseline(GetParam()));
}

// Pages of int8 have scales of their own, which codecs do not know: blocks lie in tiers as the pages have
// them, and come back with the same bits over memory, disk, restarts and rank counts.
class Int8Pages : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Codecs, Int8Pages, ::testing::Values("none", "lossless"));

TEST_P(Int8Pages, ComeBackFromTiersWithTheSameBits) {
  HarnessOptions options = with(GetParam());
  options.kv_dtype = worker::DType::i8;
  const ChatCase chat{.number = 2, .kv = {}, .turns = 3};
  const Chat fresh = fresh_chat(chat, options);
  const ScratchDirectory disk;
  options.pages = 29;  // flush_device fills them all
  options.host_pages = 0;
  options.max_model_len = 450;
  options.kv_memory_bytes = 64 << 20;
  options.kv_disk_directory = disk.path();
  auto worker = std::make_unique<WorkerHarness>(options);
  const auto flush = [&] { flush_device(*worker); };
  const Chat from_memory = run_chat(chat, worker, flush);
  expect_same(from_memory, fresh);
  EXPECT_GT(cached(from_memory).memory, 200U);
  options.kv_memory_bytes = 0;
  for (const int ranks : {1, 2}) {
    worker.reset();
    options.ranks = ranks;
    worker = std::make_unique<WorkerHarness>(options);
    const Chat restarted = run_chat(chat, worker, flush);
    expect_same(restarted, fresh);
    EXPECT_GT(cached(restarted).disk, 200U) << ranks << " ranks";
  }
  worker.reset();
  options.kv_dtype = worker::DType::bf16;
  options.ranks = 1;
  worker = std::make_unique<WorkerHarness>(options);
  const Chat others = run_chat(chat, worker, [] {});
  EXPECT_EQ(cached(others).disk, 0U) << "pages of another format share nothing";
}

TEST(KvCodec, ALossyOneIsRefusedForPagesOfInt8) {
  auto backend = worker::make_backend({.device = "cpu", .threads = 1});
  ASSERT_TRUE(backend);
  auto pool = (*backend)->allocate_kv({16, 32, worker::DType::i8, 1});
  ASSERT_TRUE(pool);
  for (const kvstore::Codec codec : {kvstore::Codec::int8, kvstore::Codec::int4}) {
    const auto refused = worker::UnitCodec::of(**pool, codec);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, worker::Errc::configuration);
    EXPECT_NE(refused.error().message.find("not for pages of int8"), std::string::npos)
        << refused.error().message;
  }
  EXPECT_TRUE(worker::UnitCodec::of(**pool, kvstore::Codec::lossless));
}

}  // namespace
}  // namespace leadline::tests
