// Speculation under everything at once: random requests, policies that are swapped while rounds run, cancels,
// preemption by swapping and recomputing, ranks, draft ranks. Whatever is delivered is == the plain answer,
// or for a cancelled request a prefix of it; afterwards no page is held. LEADLINE_STRESS_SECONDS: how long, 8
// by default; issue 5 asks for 600 under the sanitizers.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "policy/fixed_policy.h"
#include "tests/support/exactness_case.h"
#include "tests/support/random_policy.h"

namespace leadline::tests {
namespace {

using transport::FinishReason;
using transport::Generate;
using transport::RequestId;

std::vector<Answer> plain_answers() {
  HarnessOptions options;
  options.prefix_cache = false;
  WorkerHarness worker(options);
  return worker.run(all_requests());
}

std::shared_ptr<const policy::ExitPolicy> any_policy(std::mt19937& rng) {
  switch (rng() % 6) {
    case 0:
      return nullptr;
    case 1:
      return policy::make_off_policy();
    case 2:
      return policy::make_static_policy(2 + 2 * static_cast<int>(rng() % 5),
                                        1 + static_cast<int>(rng() % 16));
    case 3:
      return policy::make_threshold_policy({.exit = 6, .max_draft = 12, .threshold = 0.3F});
    default:
      return std::make_shared<RandomPolicy>(rng(), rng() % 2 == 0);
  }
}

HarnessOptions any_worker(std::mt19937& rng) {
  HarnessOptions options;
  options.ranks = 1 << (rng() % 3);
  options.draft_ranks = static_cast<int>(rng() % 2);
  options.pages = 24 + rng() % 60;
  options.host_pages = rng() % 3 == 0 ? 0 : rng() % 100;
  options.max_sequences = 4 + rng() % 20;
  options.step_tokens = options.max_sequences + 8 + rng() % 200;
  options.min_chunk_tokens = 1 + rng() % 40;
  options.max_draft_rows = rng() % 64;
  options.prefix_cache = rng() % 4 != 0;
  options.policy = any_policy(rng);
  return options;
}

struct Sum {
  std::uint64_t requests = 0, cancelled = 0, preemptions = 0, swaps = 0, drafted = 0, accepted = 0;
};

void expect_prefix(const Answer& got, const Answer& want) {
  ASSERT_LE(got.tokens.size(), want.tokens.size());
  for (std::size_t t = 0; t < got.tokens.size(); ++t)
    ASSERT_TRUE(got.tokens[t] == want.tokens[t]) << "token " << t;
}

void one_life(std::mt19937& rng, const std::vector<Generate>& requests, const std::vector<Answer>& plain,
              Sum& sum) {
  WorkerHarness worker(any_worker(rng));
  struct Sent {
    std::size_t request;
    RequestId id;
    bool cancelled = false;
  };
  std::vector<Sent> sent;
  for (int i = 0; i < 40; ++i) {
    const auto index = sent.size();
    const std::size_t which = rng() % requests.size();
    Generate g = requests[which];
    g.priority = static_cast<std::int32_t>(rng() % 3);
    sent.push_back({which, worker.submit(std::move(g))});
    if (rng() % 4 == 0) worker.wait_tokens(sent[rng() % sent.size()].id, 1 + rng() % 6);
    if (rng() % 5 == 0) worker.put_policy(any_policy(rng)), ++sum.swaps;
    if (rng() % 8 == 0) {
      Sent& victim = sent[rng() % (index + 1)];
      worker.cancel(victim.id);
      victim.cancelled = true;
    }
  }
  for (const Sent& s : sent) {
    const Answer answer = worker.wait(s.id);
    ++sum.requests;
    sum.preemptions += answer.finish.preemptions;
    sum.drafted += answer.finish.drafted_tokens;
    sum.accepted += answer.finish.accepted_tokens;
    if (s.cancelled && answer.finish.reason == FinishReason::cancelled) {
      ++sum.cancelled;
      expect_prefix(answer, plain[s.request]);
    } else {
      expect_same({answer}, {plain[s.request]});
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
  while (worker.status().busy.load()) std::this_thread::yield();
  EXPECT_EQ(worker.pages_used(), 0U);
}

TEST(SpeculationStress, NothingChangesAnAnswer) {
  const char* seconds = std::getenv("LEADLINE_STRESS_SECONDS");
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(seconds ? std::atoi(seconds) : 8);
  const std::vector<Generate> requests = all_requests();
  const std::vector<Answer> plain = plain_answers();
  Sum sum;
  std::uint32_t life = 0;
  while ((std::chrono::steady_clock::now() < until || life < 4) && !HasFailure()) {
    SCOPED_TRACE("life " + std::to_string(life));
    std::mt19937 rng(++life);
    one_life(rng, requests, plain, sum);
  }
  std::printf(
      "%u workers, %llu requests, %llu cancelled, %llu preemptions, %llu swaps of policy, %llu drafts, %llu "
      "stood\n",
      life, static_cast<unsigned long long>(sum.requests), static_cast<unsigned long long>(sum.cancelled),
      static_cast<unsigned long long>(sum.preemptions), static_cast<unsigned long long>(sum.swaps),
      static_cast<unsigned long long>(sum.drafted), static_cast<unsigned long long>(sum.accepted));
  EXPECT_GT(sum.cancelled, 0U);
  EXPECT_GT(sum.preemptions, 0U);
  EXPECT_GT(sum.accepted, 0U);
}

}  // namespace
}  // namespace leadline::tests
