#pragma once
// `leadline policy train|eval|show|replay`: logs in, a policy out; what a policy is worth by logs and by
// replay; what it picks. Not the learning (policy/trainer). Thread: main.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace leadline::deploy {

struct TrainOptions {
  std::vector<std::string> logs;
  std::string out, curve;
  int steps = 15000, n_step = 3, sweeps = 2, seed = 1;
  double conservative = 0, held_out = 0.2;
  bool export_anyway = false, latest_model = false;
};

struct EvalOptions {
  std::string policy;
  std::vector<std::string> logs;
};

// Traces and a cost table: everything that replays.
struct ReplayCommandOptions {
  std::string trace, costs, policy, lede, log, picture;
  std::vector<int> exits;  // candidates; none: the policy's, or all of the trace
  int deepen = 1, batch = 1, max_draft = 12, seed = 1, repeats = 1;
  double epsilon = 0;
  bool train_split = false;
};

void add_train_flags(CLI::App& command, TrainOptions& options);
void add_eval_flags(CLI::App& command, EvalOptions& options);
void add_replay_flags(CLI::App& command,
                      ReplayCommandOptions& options);  // of `replay`, `explore`, `lede` and `show`

// 0: written; 3: trained and not shown to be better; 4: too few logs; 1: anything else.
int run_train(const TrainOptions& options);
int run_eval(const EvalOptions& options);
int run_replay(const ReplayCommandOptions& options);   // the table of all policies
int run_explore(const ReplayCommandOptions& options);  // logs of an exploring policy, by replay
int run_lede(const ReplayCommandOptions& options);     // trains LEDE as published on the trace
int run_show(const ReplayCommandOptions& options);     // what the policy picks

}  // namespace leadline::deploy
