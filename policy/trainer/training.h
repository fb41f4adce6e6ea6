#pragma once
// Training: logs -> a policy, judged on logs that were held out; exported only if it is better than the best
// static setting. Not files of servers and not flags (deploy/cli). Thread: one; progress by callback.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "policy/errc.h"
#include "policy/policy_file.h"
#include "policy/trainer/off_policy_eval.h"
#include "policy/trajectory_log.h"

namespace leadline::policy {

struct TrainingOptions {
  int steps = 15000, n_step = 3, sweeps = 2;  // sweeps: of lambda towards its fixed point
  float conservative = 0;
  double held_out = 0.2;  // share of sequences that only judge
  std::uint64_t seed = 1;
  bool export_anyway = false;  // for a step of an iteration that explores next; said in the provenance
  std::function<void(const std::string& stage, int step, int steps, float loss)> progress;
};

struct TrainingReport {
  std::size_t rounds = 0, held_out_rounds = 0, dropped = 0;
  OffPolicyEstimate learned;
  BestStatic baseline;
  std::vector<std::pair<int, float>> curve;  // step -> loss
  std::string summary;                       // the same in words
};

// Logs of one model and one set of exits; model_mismatch if not. not_better with the numbers if the policy is
// not better than the baseline or is known by fewer than kLeastEffectiveSamples.
Result<PolicyFile> train_policy(std::span<const TrajectoryFile> logs, const TrainingOptions& options,
                                TrainingReport& report);

// A policy that was made otherwise (fitted_policy), judged by the same rule on logs that it did not learn
// from: the baseline is chosen on one half of their sequences, both are compared on the other. Writes the
// provenance. With logs that explored around static settings (`baselines`; else empty) the policy must also
// take less than the best of them at each batch size, in the mean over batch sizes, and these must be known
// as well as the policy: logs of a policy hardly show what it does not do.
Result<void> judge_policy(std::span<const TrajectoryFile> logs, std::span<const TrajectoryFile> baselines,
                          PolicyFile& file, TrainingReport& report);

// By a hash of its number: the same sequences whatever else is in the logs.
[[nodiscard]] bool is_held_out(std::uint64_t sequence, double share);

}  // namespace leadline::policy
