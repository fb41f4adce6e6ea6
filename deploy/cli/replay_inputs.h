#pragma once
// ReplayInputs: what the commands that replay recorded answers read: traces put together, the cost table,
// policies; and the table of speed-ups that they print. Not the commands (policy_replay, policy_fit). Thread:
// main.

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "deploy/cli/policy_training.h"
#include "policy/policy_file.h"
#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"
#include "policy/trainer/replay.h"
#include "policy/trajectory_log.h"

namespace leadline::deploy {

using Answers = std::vector<const policy::AnswerTrace*>;
using Tasks = std::map<std::string, Answers>;  // by task and temperature

struct ReplayInputs {
  policy::DecodeTrace trace;
  std::optional<policy::CostTable> costs;
  std::optional<policy::PolicyFile> policy, lede;
  std::array<Tasks, policy::kSplitNames.size()> splits;
  [[nodiscard]] const Tasks& of(policy::Split split) const { return splits[static_cast<std::size_t>(split)]; }
  [[nodiscard]] Answers all_of(policy::Split split) const;
  [[nodiscard]] bool has(policy::Split split) const { return !of(split).empty(); }
};

// The reason it failed, or nothing.
std::string read_inputs(const ReplayCommandOptions& options, ReplayInputs& in);

// What logs and policies made from the inputs name as their model: that of the costs.
[[nodiscard]] std::string model_identity(const ReplayInputs& in, const ReplayCommandOptions& options);

using Speedups = std::map<std::string, double>;  // by task
[[nodiscard]] double mean(const Speedups& speedups);

// Speed-ups over plain decoding, of one split.
class SpeedupTable {
 public:
  SpeedupTable(const ReplayInputs& in, policy::Split split, int batch, int max_draft);
  [[nodiscard]] Speedups of(const policy::ExitPolicy& policy) const;
  [[nodiscard]] Speedups oracle() const;  // batch 1
  void print_head() const;
  static void print(const std::string& name, const Speedups& speedups);
  [[nodiscard]] const Tasks& tasks() const { return tasks_; }

 private:
  [[nodiscard]] double time_of(const Answers& answers, const policy::ExitPolicy& policy) const;

  const ReplayInputs& in_;
  const Tasks& tasks_;
  const policy::ReplayOptions options_;
  std::map<std::string, double> plain_;  // us per token
};

}  // namespace leadline::deploy
