#include "deploy/cli/policy_command.h"

#include <CLI/CLI.hpp>

#include "deploy/cli/cost_probe.h"
#include "deploy/cli/policy_put.h"
#include "deploy/cli/policy_training.h"
#include "deploy/cli/trace_recorder.h"

namespace leadline::deploy {

std::function<int()> add_policy_command(CLI::App& command) {
  struct Parsed {
    TraceOptions trace;
    CostOptions costs;
    TrainOptions train;
    EvalOptions eval;
    PutOptions put, report;
    FitCommandOptions fit;
    ExportOptions exported;
    AgreeOptions agree;
    ReplayCommandOptions replay, explore, lede, show;
    std::function<int()> run = [] { return 2; };
  };
  auto parsed = std::make_shared<Parsed>();
  command.require_subcommand(1);
  const auto add = [&](const char* name, const char* what, auto add_flags, auto& options, auto run) {
    CLI::App* sub = command.add_subcommand(name, what);
    add_flags(*sub, options);
    sub->callback([&options, run, &out = parsed->run] { out = [&options, run] { return run(options); }; });
  };
  add("train", "Learn a policy from logs; written only if it beats the best static setting", add_train_flags,
      parsed->train, run_train);
  add("fit", "Learn a policy from recorded answers and measured costs; chosen on the selection answers",
      add_fit_flags, parsed->fit, run_fit);
  add("export", "Write a policy to serve with, if held-out logs show that it beats the best static setting",
      add_export_flags, parsed->exported, run_export);
  add("eval", "What a policy would have cost, by logs of another that explored", add_eval_flags, parsed->eval,
      run_eval);
  add("put", "Let running workers decide by another policy", add_put_flags, parsed->put, run_put);
  add("report", "Tell running workers how a training ended, for their metrics", add_report_flags,
      parsed->report, run_report);
  add("show", "Which exits and lengths a policy picks, as a table and a picture", add_replay_flags,
      parsed->show, run_show);
  add("trace", "Record what every exit says along answers of a model", add_trace_flags, parsed->trace,
      run_trace);
  add("costs", "Measure what layers, head and probes cost on this machine", add_cost_flags, parsed->costs,
      run_costs);
  add("replay", "Every policy over recorded answers and measured costs, in one table", add_replay_flags,
      parsed->replay, run_replay);
  add("agree", "Real runs beside the replay of the same answers", add_agree_flags, parsed->agree, run_agree);
  add("explore", "Write logs of an exploring policy, by replay", add_replay_flags, parsed->explore,
      run_explore);
  add("lede", "Train LEDE as published on recorded answers, to compare with", add_replay_flags, parsed->lede,
      run_lede);
  return [parsed] { return parsed->run(); };
}

}  // namespace leadline::deploy
