// DEL in the engine: what it counts of every exit and is shown at a round's start is what the replay counts
// and shows on the same recorded answers, to the bit, and so it decides the same; its answers are those of
// plain decoding. (issue 5, seed_methods 4.2)

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <vector>

#include "coordinator/text/tokenizer.h"
#include "deploy/cli/trace_recorder.h"
#include "policy/del_policy.h"
#include "policy/trainer/replay.h"
#include "tests/support/exactness_case.h"
#include "tests/support/scratch_directory.h"

namespace leadline::tests {
namespace {

constexpr int kTokens = 40, kMaxDraft = 12;
const std::vector<std::int32_t> kExits{1, 2, 3, 4, 5, 6, 8};

struct Seen {  // at a round's start
  std::vector<policy::ExitRecord> records;
  policy::ExitFeatures features;
  policy::Action action;
};

// DEL, and what it saw.
class WatchedDel final : public policy::ExitPolicy {
 public:
  policy::ActionDistribution decide(const policy::DecisionPoint& point) const override {
    const policy::ActionDistribution wanted = del_->decide(point);
    if (point.kind == policy::DecisionKind::round_start && point.max_draft > 0) {
      const auto& all = point.experience->exits;
      const std::lock_guard lock(mutex_);
      seen_.push_back({{all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kExits.size())},
                       point.features,
                       wanted.mode()});
    }
    return wanted;
  }
  policy::PolicyNeeds needs() const override { return del_->needs(); }
  std::string_view name() const override { return del_->name(); }
  std::vector<Seen> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(seen_, {});
  }

 private:
  const std::unique_ptr<policy::ExitPolicy> del_ = policy::make_del_policy();
  mutable std::mutex mutex_;
  mutable std::vector<Seen> seen_;
};

void expect_equal(const std::vector<Seen>& engine, const std::vector<Seen>& replayed) {
  ASSERT_EQ(engine.size(), replayed.size());
  for (std::size_t round = 0; round < engine.size(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    EXPECT_EQ(engine[round].action, replayed[round].action);
    for (std::size_t f = 0; f < policy::kFeatureCount; ++f) {
      const auto feature = static_cast<policy::Feature>(f);
      EXPECT_EQ(engine[round].features[feature], replayed[round].features[feature])
          << policy::kFeatureNames[f];
    }
    for (std::size_t e = 0; e < kExits.size(); ++e) {
      const policy::ExitRecord &a = engine[round].records[e], &b = replayed[round].records[e];
      EXPECT_TRUE(a.match == b.match && a.miss == b.miss && a.match_confidence == b.match_confidence &&
                  a.miss_confidence == b.miss_confidence)
          << "exit " << kExits[e] << ": " << a.match << " " << a.miss << " " << a.match_confidence << " "
          << a.miss_confidence << " instead of " << b.match << " " << b.miss << " " << b.match_confidence
          << " " << b.miss_confidence;
    }
  }
}

// A prompt of each task, greedy and at T = 0.6, recorded by `leadline policy trace`.
TEST(Del, CountsInTheEngineWhatItCountsInReplay) {
  const ScratchDirectory scratch;
  deploy::TraceOptions options;
  options.model = std::string(LEADLINE_SOURCE_DIR) + "/models/reference";
  options.prompts = options.model + "/tasks.jsonl";
  options.out = scratch.path() + "/answers.trace";
  options.split = "selection";
  options.tokens = kTokens;
  options.max_draft = kMaxDraft;
  options.limit = 1;
  options.exits.assign(kExits.begin(), kExits.end());
  options.threads = 1;
  ASSERT_EQ(deploy::run_trace(options), 0);
  const auto trace = policy::load_trace(options.out);
  ASSERT_TRUE(trace.has_value());
  std::vector<deploy::TracePrompt> prompts;
  std::string error;
  ASSERT_TRUE(deploy::read_trace_prompts(options, prompts, error)) << error;
  auto tokenizer = coordinator::Tokenizer::load(options.model);
  ASSERT_TRUE(tokenizer.has_value());
  const auto costs = policy::CostTable::parse("layers 12\nlayer 1 64 10\nhead 1 20\nprobe 1\npass 3\n");
  ASSERT_TRUE(costs.has_value());

  const auto watched = std::make_shared<WatchedDel>();
  HarnessOptions worker_options;
  worker_options.policy = watched;
  worker_options.exits = kExits;
  WorkerHarness worker(worker_options);
  ASSERT_EQ(trace->answers.size(), 2 * prompts.size());
  std::size_t drafted = 0;
  for (std::size_t i = 0; i < trace->answers.size(); ++i) {
    SCOPED_TRACE("answer " + std::to_string(i));
    const policy::AnswerTrace& answer = trace->answers[i];
    const deploy::TracePrompt& prompt = prompts[i % prompts.size()];  // once greedy, once sampled
    transport::Generate g;
    g.prompt = *(*tokenizer)->encode(prompt.text, false, 4096);
    g.max_tokens = kTokens;
    g.ignore_eos = true;
    g.allowed_vocab = static_cast<std::uint32_t>((*tokenizer)->vocab_size());
    g.sampling.seed = prompt.seed;
    g.sampling.temperature = answer.temperature;
    g.speculation.mode = transport::SpeculationMode::learned;
    g.speculation.max_draft = kMaxDraft;
    const Answer got = worker.run({g}).front();
    std::vector<std::int32_t> tokens;
    for (const transport::SampledToken& token : got.tokens) tokens.push_back(token.token);
    ASSERT_EQ(tokens, answer.tokens) << "the same prompt, seed and temperature";
    const std::vector<Seen> engine = watched->take();
    const policy::ReplayStart start{&answer, 1};  // the prompt's own step gave the first
    (void)policy::replay_together(*trace, {&start, 1}, *watched, *costs, kMaxDraft);
    expect_equal(engine, watched->take());
    drafted += got.finish.drafted_tokens;
  }
  EXPECT_GT(drafted, 50U);
}

// Shadows are read beside others, on several ranks, and where a draft rank sees none: no answer changes.
class DelRanks : public ::testing::TestWithParam<std::pair<int, int>> {};
TEST_P(DelRanks, ChangesNoAnswer) {
  HarnessOptions plain_options;
  plain_options.prefix_cache = false;
  WorkerHarness plain(plain_options);
  HarnessOptions options;
  options.ranks = GetParam().first;
  options.draft_ranks = GetParam().second;
  options.policy = policy::make_del_policy();
  WorkerHarness worker(options);
  const std::vector<Answer> answers = worker.run(all_requests());
  expect_same(answers, plain.run(all_requests()));
  std::uint64_t accepted = 0;
  for (const Answer& answer : answers) accepted += answer.finish.accepted_tokens;
  EXPECT_GT(accepted, 20U);
}
INSTANTIATE_TEST_SUITE_P(RanksAndDraftRanks, DelRanks,
                         ::testing::Values(std::pair(1, 0), std::pair(2, 0), std::pair(4, 0),
                                           std::pair(2, 1)));

}  // namespace
}  // namespace leadline::tests
