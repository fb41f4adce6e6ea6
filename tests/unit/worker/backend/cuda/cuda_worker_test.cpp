// A whole worker on the emulated device: requests through scheduler, recorded steps and sampling on the
// device, alone and in company, on one rank and on two, with ==.

#include <gtest/gtest.h>

#include "policy/fixed_policy.h"
#include "tests/support/device_backends.h"
#include "tests/support/random_policy.h"
#include "tests/support/tiny_model.h"
#include "tests/support/worker_harness.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::tests {
namespace {

std::vector<transport::Generate> requests() {
  std::vector<transport::Generate> all(4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    transport::Generate& g = all[i];
    for (std::size_t t = 0; t < 5 + 9 * i; ++t)
      g.prompt.push_back(static_cast<std::int32_t>((7 * t + 13 * i) % 83));
    g.max_tokens = 6;
    g.ignore_eos = true;
    g.sampling.seed = 40 + i;
    g.sampling.top_logprobs = static_cast<std::int32_t>(i);
    g.sampling.temperature = i == 0 ? 0.0F : 0.9F;
    if (i == 1) g.sampling.top_p = 0.8F;
    if (i == 2) g.sampling.top_k = 12;
    if (i == 3) g.sampling.repetition_penalty = 1.3F;
  }
  return all;
}

class CudaWorker : public testing::Test {
 protected:
  void SetUp() override {
    if (usable_devices().empty()) GTEST_SKIP() << "the emulated device does not run under sanitizers";
  }
  HarnessOptions options(int ranks) const {
    HarnessOptions o;
    o.model_directory = model_.directory();
    o.ranks = ranks;
    o.pages = 32;
    o.host_pages = 8;
    o.max_model_len = 128;
    // The ranks' communicator is the host's: what it does is not in a record, as NCCL's calls are.
    o.make_backend = [ranks] { return device_backend("cuda_emulated", true, ranks == 1); };
    return o;
  }
  static std::vector<std::vector<transport::SampledToken>> tokens_of(std::vector<Answer> answers) {
    std::vector<std::vector<transport::SampledToken>> tokens;
    for (Answer& a : answers) {
      EXPECT_EQ(a.finish.reason, transport::FinishReason::length) << a.finish.message;
      tokens.push_back(std::move(a.tokens));
    }
    return tokens;
  }
  TinyModel model_{tiny_config("llama", "LlamaForCausalLM"), "BF16"};
};

// Drafts are drawn on the device, rows of a round are sampled there all at once; what policies read of a row
// comes back with its token.
TEST_F(CudaWorker, DraftingChangesNoTokenWhoeverDrafts) {
  const auto want = tokens_of(WorkerHarness(options(1)).run(requests()));
  for (const int seed : {1, 2}) {  // 2: asks for probes
    for (const int draft_ranks : {0, 1}) {
      HarnessOptions o = options(1 + draft_ranks);
      o.exits = {1};
      o.policy = std::make_shared<RandomPolicy>(seed, seed % 2 == 0);
      o.draft_ranks = draft_ranks;
      WorkerHarness worker(o);
      std::vector<Answer> answers = worker.run(requests());
      std::uint64_t rounds = 0, drafted = 0;
      for (const Answer& a : answers)
        rounds += a.finish.speculation_rounds, drafted += a.finish.drafted_tokens;
      EXPECT_GT(rounds, 4U);
      EXPECT_GT(drafted, 4U);
      EXPECT_EQ(tokens_of(std::move(answers)), want) << "seed " << seed << ", draft ranks " << draft_ranks;
    }
  }
}

// What is recorded before a worker is ready serves its steps, its draft passes and its verifications.
TEST_F(CudaWorker, WarmedStepsAreReplayedAndTheSame) {
  HarnessOptions o = options(1);
  const auto want = tokens_of(WorkerHarness(o).run(requests()));
  worker::cuda::CudaBackend* backend = nullptr;
  const auto make = o.make_backend;
  o.make_backend = [&] {
    auto made = make();
    backend = static_cast<worker::cuda::CudaBackend*>(made.get());
    return made;
  };
  o.warm = true;
  o.max_sequences = 4;
  o.exits = {1};
  o.policy = policy::make_static_policy(1, 3);
  WorkerHarness worker(o);
  EXPECT_EQ(tokens_of(worker.run({requests()[0]})).front(), want[0]);  // alone: rounds of one sequence
  const std::size_t recorded = backend->recorded_steps();
  const std::int64_t before = backend->replayed_steps();
  EXPECT_GT(recorded, 10U);
  EXPECT_EQ(tokens_of(worker.run({requests()[1]})).front(), want[1]);
  EXPECT_EQ(backend->recorded_steps(), recorded) << "nothing was left to record";
  EXPECT_GE(backend->replayed_steps() - before, 4) << "draft passes and verifications";
  EXPECT_EQ(tokens_of(worker.run(requests())), want);
}

TEST_F(CudaWorker, TokensAreTheSameAloneAndInCompanyAndOnTwoRanks) {
  std::vector<Answer> alone;
  {
    WorkerHarness worker(options(1));
    for (transport::Generate& g : requests()) alone.push_back(worker.run({std::move(g)}).front());
  }
  const auto want = tokens_of(std::move(alone));
  ASSERT_EQ(want[0].size(), 6U);
  WorkerHarness together(options(1));
  EXPECT_EQ(tokens_of(together.run(requests())), want);
  WorkerHarness two(options(2));
  EXPECT_EQ(tokens_of(two.run(requests())), want) << "2 ranks";
}

}  // namespace
}  // namespace leadline::tests
