// Compressed sequences owe what exact ones do: the answer, and the lists of slots that stay, depend on the
// request alone: not on the batch, chunking, rank count, prefix hits or preemption. One row per method.

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "policy/fixed_policy.h"
#include "tests/support/worker_harness.h"

namespace leadline::tests {
namespace {

using transport::Generate;
using worker::CompressOutcome;

struct Row {
  const char* name;
  float budget = 0.3F;
  std::optional<float> threshold;
  std::uint32_t pinned = 0;  // tokens of a system prompt
};

std::string name_of(const ::testing::TestParamInfo<Row>& row) {
  return std::string(row.param.name) + (row.param.threshold ? "_by_threshold" : "") +
         (row.param.pinned > 0 ? "_pinned" : "");
}

constexpr std::size_t kLengths[] = {40, 129, 333, 352, 700};

std::vector<Generate> requests(const Row& row) {
  std::vector<Generate> all;
  for (std::size_t i = 0; i < std::size(kLengths); ++i) {
    Generate g;
    g.prompt = sample_prompt(static_cast<int>(i), kLengths[i]);
    g.max_tokens = 24;
    g.ignore_eos = true;
    g.sampling.seed = 7 + i;
    g.sampling.temperature = i % 2 == 0 ? 0.0F : 0.8F;
    g.sampling.top_logprobs = 2;
    g.kv.compression = row.name;
    if (row.threshold)
      g.kv.threshold = row.threshold;
    else
      g.kv.budget = row.budget;
    g.kv.pinned_prefix = std::min(row.pinned, static_cast<std::uint32_t>(kLengths[i]));
    all.push_back(std::move(g));
  }
  return all;
}

// Answers, and the digests of all lists by (tokens in, slots kept): the order of requests is not the law's.
struct Outcome {
  std::vector<Answer> answers;
  std::multimap<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> digests;
};

Outcome run(HarnessOptions options, const Row& row, bool one_by_one, int rounds = 1) {
  Outcome outcome;
  std::mutex mutex;
  options.compression = true;
  options.on_compressed = [&](const CompressOutcome& c) {
    std::lock_guard lock(mutex);
    outcome.digests.emplace(std::pair(c.tokens, c.slots), c.digest);
  };
  WorkerHarness worker(options);
  for (int round = 0; round < rounds; ++round) {
    outcome.answers.clear();
    outcome.digests.clear();
    if (one_by_one)
      for (Generate& g : requests(row)) outcome.answers.push_back(worker.run({std::move(g)}).front());
    else
      outcome.answers = worker.run(requests(row));
  }
  return outcome;
}

const Outcome& baseline(const Row& row) {
  static std::map<std::string, Outcome> known;
  const std::string key = name_of({row, 0});
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  HarnessOptions options;
  options.prefix_cache = false;
  return known.emplace(key, run(options, row, true)).first->second;
}

void expect_same(const Outcome& got, const Outcome& want, bool lists = true) {
  for (std::size_t i = 0; i < want.answers.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    ASSERT_EQ(got.answers[i].finish.message, "");
    ASSERT_EQ(got.answers[i].tokens.size(), want.answers[i].tokens.size());
    for (std::size_t t = 0; t < want.answers[i].tokens.size(); ++t) {
      transport::SampledToken token = got.answers[i].tokens[t];
      token.draft_layer = want.answers[i].tokens[t].draft_layer;  // who drafted it is no part of the answer
      ASSERT_TRUE(token == want.answers[i].tokens[t]) << "token " << t;
    }
  }
  if (!lists) return;
  ASSERT_EQ(got.digests.size(), want.digests.size());
  for (auto a = got.digests.begin(), b = want.digests.begin(); b != want.digests.end(); ++a, ++b)
    EXPECT_EQ(*a, *b) << "other slots stay";
}

class CompressionExactness : public ::testing::TestWithParam<Row> {};

TEST_P(CompressionExactness, SomethingIsCompressedAndTheAnswerIsWhole) {
  const Outcome& want = baseline(GetParam());
  ASSERT_FALSE(want.digests.empty());
  std::uint64_t less = 0;
  for (const auto& [size, digest] : want.digests) {
    const std::uint64_t all = std::uint64_t{size.first} * 12 * 2;
    const bool whole = GetParam().pinned >= size.first;  // a system prompt may fill a segment
    EXPECT_LT(size.second, all + (whole ? 1 : 0)) << "of " << size.first << " tokens";
    less += all - size.second;
  }
  EXPECT_GT(less, 0U);
  for (const Answer& answer : want.answers) EXPECT_EQ(answer.tokens.size(), 24U) << answer.finish.message;
}

TEST_P(CompressionExactness, InABatch) {
  expect_same(run(HarnessOptions{}, GetParam(), false), baseline(GetParam()));
}

TEST_P(CompressionExactness, PrefillOfAnySize) {
  for (const std::uint32_t chunk : {17U, 61U}) {
    HarnessOptions options;
    options.max_sequences = 16;
    options.step_tokens = chunk;
    options.min_chunk_tokens = 1;
    SCOPED_TRACE(chunk);
    expect_same(run(options, GetParam(), false), baseline(GetParam()));
  }
}

TEST_P(CompressionExactness, OverTwoAndFourRanks) {
  for (const int ranks : {2, 4}) {
    HarnessOptions options;
    options.ranks = ranks;
    SCOPED_TRACE(ranks);
    expect_same(run(options, GetParam(), false), baseline(GetParam()));
  }
}

TEST_P(CompressionExactness, AfterAPrefixHit) {
  expect_same(run(HarnessOptions{}, GetParam(), false, 2), baseline(GetParam()));
}

TEST_P(CompressionExactness, WithRoundsOfSpeculation) {
  HarnessOptions options;
  options.policy = policy::make_static_policy(6, 5);
  const Outcome got = run(options, GetParam(), false);
  expect_same(got, baseline(GetParam()));
  std::size_t drafted = 0;
  for (const Answer& answer : got.answers)
    for (const transport::SampledToken& token : answer.tokens) drafted += token.draft_layer > 0 ? 1 : 0;
  EXPECT_GT(drafted, 0U);
}

TEST_P(CompressionExactness, PreemptedWhileDecodingOrPrefilling) {
  HarnessOptions options;
  options.compression = true;
  options.pages = 64;  // the longest alone needs nearly all of them while it is compressed
  options.host_pages = 256;
  options.min_chunk_tokens = 16;
  WorkerHarness worker(options);
  std::vector<Generate> all = requests(GetParam());
  std::vector<transport::RequestId> ids(all.size());
  ids[4] = worker.submit(all[4]);
  worker.wait_tokens(ids[4], 3);
  for (std::size_t i = 0; i < 4; ++i) {
    all[i].priority = 5;
    ids[i] = worker.submit(all[i]);
  }
  Outcome got;
  for (const transport::RequestId id : ids) got.answers.push_back(worker.wait(id));
  expect_same(got, baseline(GetParam()), false);
  EXPECT_GT(worker.preemptions(worker::PreemptionKind::recompute) +
                worker.preemptions(worker::PreemptionKind::swap),
            0);
}

TEST_P(CompressionExactness, KeepingEverythingIsTheExactAnswer) {
  HarnessOptions options;
  options.compression = true;
  WorkerHarness worker(options);
  std::vector<Generate> exact = requests(GetParam()), all = requests(GetParam());
  for (Generate& g : exact) g.kv = {};
  for (Generate& g : all) {
    g.kv.budget = 1;
    g.kv.threshold.reset();
    if (GetParam().threshold) g.kv.budget = 0, g.kv.threshold = 1.0F;
  }
  const std::vector<Answer> want = worker.run(std::move(exact)), got = worker.run(std::move(all));
  expect_same({got, {}}, {want, {}}, false);
}

INSTANTIATE_TEST_SUITE_P(Methods, CompressionExactness,
                         ::testing::Values(Row{"random"}, Row{"streaming"}, Row{"h2o"}, Row{"snapkv"},
                                           Row{"pyramidkv"}, Row{"keydiff"}, Row{"semanticache"},
                                           Row{"semanticache", 0, 0.6F}, Row{"windowkv"}, Row{"knorm"},
                                           // into the second segment; past its share of most budgets
                                           Row{"semanticache", 0, 0.6F, 300}, Row{"windowkv", 0.3F, {}, 60}),
                         name_of);

TEST(CompressionRequests, WhatIsUnsoundIsRefusedByName) {
  HarnessOptions options;
  options.compression = true;
  WorkerHarness worker(options);
  const auto message_of = [&](auto change) {
    Generate g = requests({"snapkv"})[0];
    change(g.kv);
    return worker.run({g}).front().finish.message;
  };
  EXPECT_NE(message_of([](auto& kv) { kv.compression = "zip"; }).find("known are exact, full, random"),
            std::string::npos);
  EXPECT_NE(message_of([](auto& kv) { kv.threshold = 0.5F; }).find("snapkv has none"), std::string::npos);
  EXPECT_NE(message_of([](auto& kv) {
              kv.compression = "semanticache";
              kv.threshold = 0.5F;
            }).find("exclude each other"),
            std::string::npos);
  WorkerHarness without({});
  EXPECT_NE(without.run({requests({"snapkv"})[0]}).front().finish.message.find("started without"),
            std::string::npos);
}

}  // namespace
}  // namespace leadline::tests
