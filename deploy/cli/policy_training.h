#pragma once
// `leadline policy train|fit|export|eval|show|replay`: logs or traces in, a policy out; what a policy is
// worth by logs and by replay; what it picks. Not the learning (policy/trainer). Thread: main.

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
  std::vector<std::string> traces;
  std::string costs, policy, lede, log, picture, grid;
  std::vector<int> exits;   // candidates; none: the policy's, or all of the trace
  std::vector<int> around;  // explore: static exit and drafts; none: the policy
  int deepen = 1, batch = 1, max_draft = 12, seed = 1, repeats = 1;
  double epsilon = 0;
  std::string split = "held-out";
};

// `fit`: the above, and how to learn.
struct FitCommandOptions {
  ReplayCommandOptions inputs;
  std::string out;
  std::vector<int> batches{1, 4, 16};
  int iterations = 8, steps = 8000;
  double foresight = 0.5;
};

struct AgreeOptions {
  ReplayCommandOptions inputs;
  std::string runs, baseline = "off";
};

struct ExportOptions {
  std::string policy, out;
  std::vector<std::string> logs, baselines;
};

void add_train_flags(CLI::App& command, TrainOptions& options);
void add_eval_flags(CLI::App& command, EvalOptions& options);
void add_replay_flags(CLI::App& command,
                      ReplayCommandOptions& options);  // of `replay`, `explore`, `lede` and `show`

void add_fit_flags(CLI::App& command, FitCommandOptions& options);
void add_export_flags(CLI::App& command, ExportOptions& options);

void add_agree_flags(CLI::App& command, AgreeOptions& options);

int run_agree(const AgreeOptions& options);     // real runs beside their replay
int run_fit(const FitCommandOptions& options);  // learns from recorded answers, chooses on selection
int run_export(const ExportOptions& options);   // a policy into the world, if logs show that it is better
// 0: written; 3: trained and not shown to be better; 4: too few logs; 1: anything else.
int run_train(const TrainOptions& options);
int run_eval(const EvalOptions& options);
int run_replay(const ReplayCommandOptions& options);   // the table of all policies
int run_explore(const ReplayCommandOptions& options);  // logs of an exploring policy, by replay
int run_lede(const ReplayCommandOptions& options);     // trains LEDE as published on the trace
int run_show(const ReplayCommandOptions& options);     // what the policy picks

}  // namespace leadline::deploy
