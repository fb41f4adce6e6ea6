// Speculation does not change an answer: tokens and logprobs are == those of plain decoding, greedy and
// sampled, for any policy, batch, rank count, after preemption, cancels and a swap of policies. The answers
// compared with come from a worker that never drafts. (exactness X3, issue 5)

#include <gtest/gtest.h>

#include <filesystem>

#include "policy/fixed_policy.h"
#include "policy/trajectory_log.h"
#include "tests/support/exactness_case.h"
#include "tests/support/random_policy.h"
#include "tests/support/tiny_model.h"

namespace leadline::tests {
namespace {

using transport::FinishReason;
using transport::Generate;
using transport::RequestId;

using PolicyPtr = std::shared_ptr<const policy::ExitPolicy>;

PolicyPtr fixed(std::int32_t exit, std::int32_t drafts) {
  return policy::make_static_policy(exit, drafts);
}
PolicyPtr random_policy(std::uint64_t seed) {
  return std::make_shared<RandomPolicy>(seed, seed % 2 == 0);
}

// One rank, no drafts, no prefix cache: what everything else must equal.
const std::vector<Answer>& plain() {
  static const std::vector<Answer> answers = [] {
    HarnessOptions options;
    options.prefix_cache = false;
    WorkerHarness worker(options);
    return worker.run(all_requests());
  }();
  return answers;
}

struct Drafts {
  std::uint64_t rounds = 0, drafted = 0, accepted = 0;
};
Drafts drafts_of(const std::vector<Answer>& answers) {
  Drafts sum;
  for (const Answer& answer : answers) {
    sum.rounds += answer.finish.speculation_rounds;
    sum.drafted += answer.finish.drafted_tokens;
    sum.accepted += answer.finish.accepted_tokens;
    EXPECT_LE(answer.finish.accepted_tokens, answer.finish.drafted_tokens);
    EXPECT_LE(answer.finish.accepted_tokens + answer.finish.speculation_rounds, answer.tokens.size());
  }
  return sum;
}

void expect_drafted(const std::vector<Answer>& answers, std::uint64_t accepted) {
  const Drafts sum = drafts_of(answers);
  EXPECT_GT(sum.rounds, 100U);
  EXPECT_GT(sum.accepted, accepted) << "of " << sum.drafted << " drafts";
  EXPECT_LT(sum.accepted, sum.drafted) << "some drafts must fall";
  std::printf("rounds %llu, drafted %llu, accepted %llu\n", static_cast<unsigned long long>(sum.rounds),
              static_cast<unsigned long long>(sum.drafted), static_cast<unsigned long long>(sum.accepted));
}

TEST(Speculation, ThePlainAnswersDraftNothing) {
  EXPECT_EQ(drafts_of(plain()).rounds, 0U);
}

class Static : public ::testing::TestWithParam<std::pair<int, int>> {};
TEST_P(Static, ExitAndLength) {
  HarnessOptions options;
  options.policy = fixed(GetParam().first, GetParam().second);
  WorkerHarness worker(options);
  const std::vector<Answer> answers = worker.run(all_requests());
  expect_same(answers, plain());
  expect_drafted(answers, 50);
  for (const Answer& answer : answers) {  // what people are shown of it agrees with the counts
    std::uint32_t stood = 0;
    for (const transport::SampledToken& token : answer.tokens) {
      if (token.draft_layer != 0) {
        EXPECT_EQ(std::abs(token.draft_layer), GetParam().first);
      }
      stood += token.draft_layer > 0 ? 1 : 0;
    }
    EXPECT_EQ(stood, answer.finish.accepted_tokens);
  }
}
INSTANTIATE_TEST_SUITE_P(ExitLength, Static,
                         ::testing::Values(std::pair(2, 1), std::pair(4, 3), std::pair(6, 6),
                                           std::pair(10, 16)));

TEST(Speculation, AloneAndInABatchOfAll) {
  HarnessOptions options;
  options.policy = fixed(6, 4);
  WorkerHarness worker(options);
  std::vector<Answer> answers;
  for (Generate& request : all_requests()) answers.push_back(worker.run({std::move(request)}).front());
  expect_same(answers, plain());
}

class Random : public ::testing::TestWithParam<int> {};
TEST_P(Random, Policies) {
  HarnessOptions options;
  options.policy = random_policy(static_cast<std::uint64_t>(GetParam()));
  options.prefix_cache = GetParam() % 3 != 0;
  options.step_tokens = GetParam() % 2 == 0 ? 512 : 48;
  options.min_chunk_tokens = 8;
  WorkerHarness worker(options);
  const std::vector<Answer> answers = worker.run(all_requests());
  expect_same(answers, plain());
  expect_drafted(answers, 20);
  expect_same(worker.run(all_requests()), plain());  // with prefix hits, in other batches
}
INSTANTIATE_TEST_SUITE_P(Seeds, Random, ::testing::Range(0, 4));

class SpeculativeRanks : public ::testing::TestWithParam<int> {};
TEST_P(SpeculativeRanks, GiveTheSameBits) {
  for (const PolicyPtr& policy : {fixed(4, 5), random_policy(7)}) {
    HarnessOptions options;
    options.ranks = GetParam();
    options.policy = policy;
    WorkerHarness worker(options);
    const std::vector<Answer> answers = worker.run(all_requests());
    expect_same(answers, plain());
    expect_drafted(answers, 20);
  }
}
INSTANTIATE_TEST_SUITE_P(Tp, SpeculativeRanks, ::testing::Values(2, 4));

// Rank 0 drafts alone: the same bits, after prefix hits, preemption by swapping and recomputing, and copies.
class DraftRanks : public ::testing::TestWithParam<int> {};
TEST_P(DraftRanks, GiveTheSameBits) {
  for (const PolicyPtr& policy : {fixed(4, 5), random_policy(7)}) {
    HarnessOptions options;
    options.ranks = GetParam();
    options.draft_ranks = 1;
    options.policy = policy;
    WorkerHarness worker(options);
    const std::vector<Answer> answers = worker.run(all_requests());
    expect_same(answers, plain());
    expect_drafted(answers, 20);
    expect_same(worker.run(all_requests()), plain());
  }
}
TEST_P(DraftRanks, AfterPreemption) {
  for (const std::uint32_t host_pages : {0U, 256U}) {
    HarnessOptions options;
    options.ranks = GetParam();
    options.draft_ranks = 1;
    options.pages = 24;
    options.host_pages = host_pages;
    options.min_chunk_tokens = 16;
    options.policy = fixed(8, 4);
    WorkerHarness worker(options);
    const std::vector<Answer> answers = worker.run(all_requests());
    expect_same(answers, plain());
    // What was drafted from a copy with wrong KV would hardly ever stand.
    HarnessOptions together = options;
    together.draft_ranks = 0;
    WorkerHarness other(together);
    const Drafts alone = drafts_of(answers), all = drafts_of(other.run(all_requests()));
    EXPECT_GT(alone.accepted * 10,
              alone.drafted * all.accepted / std::max<std::uint64_t>(all.drafted, 1) * 9);
  }
}
INSTANTIATE_TEST_SUITE_P(Tp, DraftRanks, ::testing::Values(1, 2, 4));

class SpeculativePreempted : public ::testing::TestWithParam<int> {};
TEST_P(SpeculativePreempted, BySwappingOrByRecomputing) {
  HarnessOptions options;
  options.pages = 24;  // the longest request needs 22: most of the batch cannot stay
  options.host_pages = static_cast<std::uint32_t>(GetParam());
  options.min_chunk_tokens = 16;
  options.policy = random_policy(static_cast<std::uint64_t>(GetParam()));
  WorkerHarness worker(options);
  std::vector<Generate> requests = all_requests();
  std::vector<RequestId> ids(requests.size());
  for (std::size_t i : {14, 12, 10, 9}) ids[i] = worker.submit(requests[i]);
  worker.wait_tokens(ids[14], 2);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (ids[i].value != 0) continue;
    requests[i].priority = 5;
    ids[i] = worker.submit(requests[i]);
  }
  std::vector<Answer> answers;
  for (RequestId id : ids) answers.push_back(worker.wait(id));
  expect_same(answers, plain());
  std::uint32_t preemptions = 0;
  for (const Answer& answer : answers) preemptions += answer.finish.preemptions;
  EXPECT_GT(preemptions, 0U);
}
INSTANTIATE_TEST_SUITE_P(HostPages, SpeculativePreempted, ::testing::Values(0, 8, 256));

TEST(Speculation, APolicySwapMidway) {
  HarnessOptions options;
  options.policy = fixed(4, 3);
  WorkerHarness worker(options);
  std::vector<RequestId> ids;
  for (Generate& request : all_requests()) ids.push_back(worker.submit(std::move(request)));
  const PolicyPtr policies[] = {
      random_policy(1), policy::make_off_policy(), fixed(8, 12), nullptr,
      policy::make_threshold_policy({.exit = 6, .max_draft = 8, .threshold = 0.5F})};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    worker.wait_tokens(ids[i], 4);
    worker.put_policy(policies[i % std::size(policies)]);
  }
  std::vector<Answer> answers;
  for (RequestId id : ids) answers.push_back(worker.wait(id));
  expect_same(answers, plain());
  EXPECT_GT(drafts_of(answers).rounds, 20U);
}

TEST(Speculation, GoingOnElsewhereFromTheTokensAlreadyMade) {
  HarnessOptions options;
  options.policy = random_policy(3);
  WorkerHarness worker(options);
  expect_same(continued_at_half(worker, all_requests(), plain()), plain());
}

TEST(Speculation, CancelsInTheMidstOfRoundsFreeTheirPages) {
  HarnessOptions options;
  options.pages = 60;
  options.prefix_cache = false;
  options.policy = random_policy(5);
  WorkerHarness worker(options);
  std::vector<Generate> requests = all_requests();
  std::vector<RequestId> ids;
  std::vector<bool> cancelled(requests.size());
  for (const Generate& request : requests) ids.push_back(worker.submit(request));
  for (std::size_t i = 0; i < ids.size(); i += 3) {
    worker.wait_tokens(ids[i], 1 + i % 7);
    worker.cancel(ids[i]);
    cancelled[i] = true;
  }
  std::vector<Answer> rest, want;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Answer answer = worker.wait(ids[i]);
    if (cancelled[i]) continue;
    rest.push_back(std::move(answer));
    want.push_back(plain()[i]);
  }
  expect_same(rest, want);
  while (worker.pages_used() != 0 && worker.status().busy.load()) std::this_thread::yield();
  EXPECT_EQ(worker.pages_used(), 0U);
}

// The copy of a draft rank must also have what comes back from the block store.
TEST(Speculation, DraftRanksAfterBlocksCameBack) {
  HarnessOptions options;
  options.ranks = 2;
  options.draft_ranks = 1;
  options.policy = fixed(6, 4);
  options.pages = 40;  // pages of the first round are gone when the second asks for them
  options.kv_memory_bytes = 64 << 20;
  WorkerHarness worker(options);
  expect_same(worker.run(all_requests()), plain());
  const std::vector<Answer> again = worker.run(all_requests());
  expect_same(again, plain());
  std::uint32_t from_memory = 0;
  for (const Answer& answer : again) from_memory += answer.finish.kv.tokens_from(transport::KvSource::memory);
  std::printf("%u prompt tokens came from the memory tier\n", from_memory);
}

TEST(Speculation, WithTheGuardAndALogOfWhatWasDecided) {
  const TempDirectory directory;
  {
    HarnessOptions options;
    options.policy = policy::make_threshold_policy({.exit = 6, .max_draft = 8, .threshold = 0.4F});
    options.guarded = true;
    options.experience_directory = directory.path();
    options.explore = 0.3F;
    WorkerHarness worker(options);
    expect_same(worker.run(all_requests()), plain());
    expect_same(worker.run(all_requests()), plain());
  }
  std::size_t rounds = 0, explored = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    const auto file = policy::read_trajectories(entry.path().string());
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ(file->damaged, 0U);
    for (const policy::Trajectory& round : file->rounds) {
      ++rounds;
      ASSERT_FALSE(round.decisions.empty());
      EXPECT_EQ(round.decisions.front().kind, policy::DecisionKind::round_start);
      EXPECT_EQ(round.decisions.front().features[policy::Feature::top1_probability], 0) << "of another round";
      EXPECT_EQ(round.accepted, round.tokens - 1);
      EXPECT_LE(round.accepted, round.drafted);
      for (const policy::LoggedDecision& decision : round.decisions) {
        EXPECT_GT(decision.propensity, 0);
        EXPECT_LE(decision.propensity, 1);
        EXPECT_GE(decision.cost_us, 0);
        explored += decision.propensity < 0.5F;
      }
    }
  }
  EXPECT_GT(rounds, 50U);
  EXPECT_GT(explored, 5U);
}

// With fewer rows of drafts in a step than all rounds want, rounds are decided within their share: the log
// has every draft that ran.
TEST(Speculation, TheLogHasEveryDraftOfAFullBatch) {
  const TempDirectory directory;
  std::uint64_t drafted = 0, logged = 0;
  {
    HarnessOptions options;
    options.policy = fixed(6, 5);
    options.max_draft_rows = 32;
    options.experience_directory = directory.path();
    WorkerHarness worker(options);
    const std::vector<Answer> answers = worker.run(all_requests());
    ASSERT_GT(answers.size(), 32U / 5) << "else all rounds find room";
    for (const Answer& answer : answers) drafted += answer.finish.drafted_tokens;
  }
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    const auto file = policy::read_trajectories(entry.path().string());
    ASSERT_TRUE(file.has_value()) << file.error().message;
    for (const policy::Trajectory& round : file->rounds) logged += static_cast<std::uint64_t>(round.drafted);
  }
  EXPECT_GT(drafted, 100U);
  EXPECT_EQ(logged, drafted);
}

TEST(Speculation, F32AndInt8Too) {
  for (const char* weights : {"f32", "int8"}) {
    HarnessOptions options;
    options.weights = weights;
    if (options.weights == "f32") options.kv_dtype = worker::DType::f32;
    options.prefix_cache = false;
    const std::vector<Answer> one = [&] {
      WorkerHarness worker(options);
      return worker.run(all_requests());
    }();
    options.policy = fixed(6, 5);
    options.ranks = 2;
    WorkerHarness worker(options);
    expect_same(worker.run(all_requests()), one);
  }
}

}  // namespace
}  // namespace leadline::tests
