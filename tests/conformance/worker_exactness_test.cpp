// The promise of docs/architecture.md on exactness, held with ==: a request's tokens and logprobs depend on
// the request and its seed alone: not on the batch, chunking, rank count, prefix hits, preemption, or where
// it goes on after a failure.

#include <gtest/gtest.h>

#include "tests/support/exactness_case.h"

namespace leadline::tests {
namespace {

using transport::FinishReason;
using transport::Generate;
using transport::SampledToken;

std::vector<Answer> alone(const HarnessOptions& options) {
  WorkerHarness worker(options);
  std::vector<Answer> answers;
  for (Generate& request : mixed_requests()) answers.push_back(worker.run({std::move(request)}).front());
  return answers;
}

// One rank, one request at a time, no prefix cache: what everything else must equal.
const std::vector<Answer>& baseline() {
  static const std::vector<Answer> answers = [] {
    HarnessOptions options;
    options.prefix_cache = false;
    return alone(options);
  }();
  return answers;
}

TEST(WorkerExactness, TheBaselineIsAnAnswer) {
  for (const Answer& answer : baseline()) {
    EXPECT_FALSE(answer.tokens.empty());
    EXPECT_TRUE(answer.finish.reason == FinishReason::length || answer.finish.reason == FinishReason::stop);
  }
}

TEST(WorkerExactness, InABatchOfSixteen) {
  WorkerHarness worker(HarnessOptions{});
  expect_same(worker.run(mixed_requests()), baseline());
}

class Chunked : public ::testing::TestWithParam<int> {};
TEST_P(Chunked, PrefillOfAnySize) {
  HarnessOptions options;
  options.max_sequences = 16;
  options.step_tokens = static_cast<std::uint32_t>(GetParam());
  options.min_chunk_tokens = 1;
  WorkerHarness worker(options);
  expect_same(worker.run(mixed_requests()), baseline());
}
INSTANTIATE_TEST_SUITE_P(StepTokens, Chunked, ::testing::Values(16, 17, 23, 61, 130));

class Ranks : public ::testing::TestWithParam<int> {};
TEST_P(Ranks, GiveTheSameBits) {
  HarnessOptions options;
  options.ranks = GetParam();
  WorkerHarness worker(options);
  expect_same(worker.run(mixed_requests()), baseline());
}
INSTANTIATE_TEST_SUITE_P(Tp, Ranks, ::testing::Values(2, 4));

TEST(WorkerExactness, AfterAPrefixHit) {
  WorkerHarness worker(HarnessOptions{});
  expect_same(worker.run(mixed_requests()), baseline());
  const std::vector<Answer> again = worker.run(mixed_requests());
  expect_same(again, baseline());
  std::uint32_t cached = 0;
  for (const Answer& answer : again) cached += answer.finish.cached_tokens;
  EXPECT_GT(cached, 1000U) << "the second round must have come from the prefix cache";
}

// The choices of one prompt (n > 1) and chats with one system prompt come at once: who comes second takes
// what the first computes.
TEST(WorkerExactness, EqualPromptsThatArriveTogetherAreComputedOnce) {
  Generate request = mixed_requests()[13];  // 257 tokens, sampled
  const Answer want = baseline()[13];
  WorkerHarness worker(HarnessOptions{});
  const std::vector<Answer> answers = worker.run({request, request, request, request});
  expect_same(answers, {want, want, want, want});
  std::uint32_t cached = 0;
  for (const Answer& answer : answers) cached += answer.finish.cached_tokens;
  EXPECT_EQ(cached, 3U * 256U);
}

class Preempted : public ::testing::TestWithParam<int> {};
TEST_P(Preempted, BySwappingOrByRecomputing) {
  HarnessOptions options;
  options.pages = 24;  // the longest request needs 21: most of the batch cannot stay
  options.host_pages = static_cast<std::uint32_t>(GetParam());
  options.min_chunk_tokens = 16;
  WorkerHarness worker(options);
  std::vector<Generate> requests = mixed_requests();
  // The long ones start first; while they decode, short ones of higher priority push them out.
  std::vector<transport::RequestId> ids(requests.size());
  for (std::size_t i : {14, 12, 10, 9}) ids[i] = worker.submit(requests[i]);
  worker.wait_tokens(ids[14], 2);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (ids[i].value != 0) continue;
    requests[i].priority = 5;
    ids[i] = worker.submit(requests[i]);
  }
  std::vector<Answer> answers;
  for (transport::RequestId id : ids) answers.push_back(worker.wait(id));
  expect_same(answers, baseline());
  std::uint32_t preemptions = 0;
  for (const Answer& answer : answers) preemptions += answer.finish.preemptions;
  EXPECT_GT(preemptions, 0U);
  if (options.host_pages == 0) EXPECT_GT(worker.preemptions(worker::PreemptionKind::recompute), 0);
  if (options.host_pages >= 256) EXPECT_GT(worker.preemptions(worker::PreemptionKind::swap), 0);
}
INSTANTIATE_TEST_SUITE_P(HostPages, Preempted, ::testing::Values(0, 8, 256));

TEST(WorkerExactness, GoingOnElsewhereFromTheTokensAlreadyMade) {
  WorkerHarness worker(HarnessOptions{});
  expect_same(continued_at_half(worker, mixed_requests(), baseline()), baseline());
}

TEST(WorkerExactness, F32PagesAndWeightsToo) {
  HarnessOptions options;
  options.weights = "f32";
  options.kv_dtype = worker::DType::f32;
  options.prefix_cache = false;
  const std::vector<Answer> one = alone(options);
  options.ranks = 2;
  options.step_tokens = 37;
  WorkerHarness worker(options);
  expect_same(worker.run(mixed_requests()), one);
}

// An arithmetic of its own: other bits than the baseline's, the same on any number of ranks.
void expect_one_arithmetic(HarnessOptions options) {
  options.prefix_cache = false;
  const std::vector<Answer> one = alone(options);
  std::size_t same = 0;
  for (std::size_t i = 0; i < one.size(); ++i) same += one[i].tokens == baseline()[i].tokens;
  EXPECT_LT(same, one.size()) << "int8 must change some logprob, or bf16 ran";
  for (const int ranks : {1, 2, 4}) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    options.ranks = ranks;
    options.step_tokens = ranks == 1 ? 512 : 37;
    options.prefix_cache = ranks != 2;
    WorkerHarness worker(options);
    expect_same(worker.run(mixed_requests()), one);
  }
}

TEST(WorkerExactness, Int8PagesToo) {
  HarnessOptions options;
  options.kv_dtype = worker::DType::i8;
  expect_one_arithmetic(options);
}

TEST(WorkerExactness, Int8WeightsToo) {
  HarnessOptions options;
  options.weights = "int8";
  expect_one_arithmetic(options);
}

TEST(WorkerExactness, CancelsFreeTheirPagesInEveryState) {
  HarnessOptions options;
  options.pages = 40;
  options.prefix_cache = false;
  WorkerHarness worker(options);
  std::vector<transport::RequestId> ids;
  for (int i = 0; i < 12; ++i) {
    Generate g;
    g.prompt = sample_prompt(i, 150);
    g.max_tokens = 400;
    g.ignore_eos = true;
    ids.push_back(worker.submit(g));
  }
  worker.wait_tokens(ids[0], 3);  // some decode, some prefill, some wait
  for (transport::RequestId id : ids) worker.cancel(id);
  for (transport::RequestId id : ids) EXPECT_EQ(worker.wait(id).finish.reason, FinishReason::cancelled);
  Generate last;
  last.prompt = sample_prompt(99, 20);
  last.max_tokens = 4;
  last.ignore_eos = true;
  const Answer answer = worker.run({last}).front();
  EXPECT_EQ(answer.tokens.size(), 4U);
  while (worker.pages_used() != 0 && worker.status().busy.load()) std::this_thread::yield();
  EXPECT_EQ(worker.pages_used(), 0U);
}

}  // namespace
}  // namespace leadline::tests
