#include <gtest/gtest.h>

#include "policy/trainer/replay.h"
#include "policy/trainer/training.h"
#include "tests/unit/policy/trainer/trace_samples.h"

namespace leadline::policy {
namespace {

// A network without hidden layers whose outputs are constants: what it prefers it always does.
PolicyFile preferring(const DecodeTrace& trace, std::vector<float> values) {
  PolicyFile file;
  file.model_identity = "made by hand";
  file.model.layers = trace.layers;
  file.model.exits = trace.exits;
  file.model.max_draft = 4;
  file.model.mean.assign(kBenefitInputs, 0.0F);
  file.model.scale.assign(kBenefitInputs, 1.0F);
  file.model.net.sizes = {static_cast<std::uint32_t>(kBenefitInputs),
                          static_cast<std::uint32_t>(values.size())};
  file.model.net.weights.assign(kBenefitInputs * values.size(), 0.0F);
  file.model.net.weights.insert(file.model.net.weights.end(), values.begin(), values.end());
  return file;
}

std::vector<TrajectoryFile> logs_around(const DecodeTrace& trace, const ExitPolicy& policy,
                                        std::uint64_t seed) {
  TrajectoryFile log;
  log.header = {"made by hand", std::string(policy.name()), 0.2F, trace.layers, trace.exits};
  ReplayOptions options{.max_draft = 4, .epsilon = 0.2F, .sink = {}};
  options.sink = [&](const Trajectory& round) { log.rounds.push_back(round); };
  for (std::uint64_t repeat = 0; repeat < 20; ++repeat) {
    options.seed = seed + repeat;
    (void)replay(trace, answers_of(trace), policy, flat_costs(), options);
  }
  return {log};
}

class JudgePolicy : public ::testing::Test {
 protected:
  // Every draft stands: whoever drafts longest takes least.
  const DecodeTrace trace_ = trace_of(std::vector<std::string>(40, "111111111111111111111111"));
  // plain, go_on, stop, keep_and_stop, climb to 2, climb to 6
  const PolicyFile plain_ = preferring(trace_, {9, 0, 0, 0, 0, 0});
  const PolicyFile long_drafts_ = preferring(trace_, {0, 5, 0, 0, 9, 0});
  const std::vector<TrajectoryFile> statics_ = logs_around(trace_, *make_logged_static(2, 2), 100);
};

TEST_F(JudgePolicy, BesideStaticsTheBetterOneIsWritten) {
  PolicyFile file = long_drafts_;
  const auto own = logs_around(trace_, *make_learned_policy(file.model), 1);
  TrainingReport report;
  const auto judged = judge_policy(own, statics_, file, report);
  ASSERT_TRUE(judged.has_value()) << judged.error().message;
  EXPECT_NE(file.provenance.find("mean ratio 0."), std::string::npos) << file.provenance;
}

TEST_F(JudgePolicy, BesideStaticsTheWorseOneIsRefused) {
  PolicyFile file = plain_;
  const auto own = logs_around(trace_, *make_learned_policy(file.model), 1);
  TrainingReport report;
  const auto judged = judge_policy(own, statics_, file, report);
  ASSERT_FALSE(judged.has_value());
  EXPECT_EQ(judged.error().code, Errc::not_better);
  EXPECT_NE(judged.error().message.find("not better than static"), std::string::npos)
      << judged.error().message;
}

TEST_F(JudgePolicy, StaticsThatAreNotKnownJudgeNobody) {
  PolicyFile file = long_drafts_;
  const auto own = logs_around(trace_, *make_learned_policy(file.model), 1);
  std::vector<TrajectoryFile> few = statics_;
  few[0].rounds.resize(100);
  TrainingReport report;
  const auto judged = judge_policy(own, few, file, report);
  ASSERT_FALSE(judged.has_value());
  EXPECT_NE(judged.error().message.find("too few"), std::string::npos) << judged.error().message;
}

}  // namespace
}  // namespace leadline::policy
