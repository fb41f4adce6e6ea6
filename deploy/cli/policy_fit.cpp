// `leadline policy fit`: a policy from recorded answers and a cost table, chosen on the selection answers.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "deploy/cli/policy_training.h"
#include "deploy/cli/replay_inputs.h"
#include "policy/trainer/fitted_policy.h"

namespace leadline::deploy {
namespace {

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

}  // namespace

void add_fit_flags(CLI::App& command, FitCommandOptions& o) {
  add_replay_flags(command, o.inputs);
  command.add_option("-o,--out", o.out, "Policy file to write; leadline policy export judges it")->required();
  command.add_option("--batches", o.batches, "Batch sizes that are learned from")->delimiter(',');
  command.add_option("--iterations", o.iterations, "Of the policy")->check(CLI::Range(1, 100));
  command.add_option("--steps", o.steps, "Of the network in each")->check(CLI::Range(10, 10'000'000));
  command.add_option("--foresight", o.foresight, "Share of a return that is the recorded rest of the answer")
      ->check(CLI::Range(0.0, 1.0));
}

int run_fit(const FitCommandOptions& o) {
  ReplayInputs in;
  if (const std::string error = read_inputs(o.inputs, in); !error.empty()) return fail_with(error);
  if (!in.has(policy::Split::train) || !in.has(policy::Split::selection))
    return fail_with("fit: the traces need answers of the splits train and selection");
  policy::FitOptions options;
  options.batches.assign(o.batches.begin(), o.batches.end());
  options.iterations = o.iterations;
  options.steps = o.steps;
  options.rollout.max_draft = o.inputs.max_draft;
  options.rollout.foresight = o.foresight;
  options.rollout.seed = static_cast<std::uint64_t>(o.inputs.seed);
  if (o.inputs.epsilon > 0) options.rollout.epsilon = static_cast<float>(o.inputs.epsilon);
  std::vector<SpeedupTable> tables;
  for (const int batch : o.batches)
    tables.emplace_back(in, policy::Split::selection, batch, o.inputs.max_draft);
  policy::PolicyFile best;
  double most = 0;
  const auto judge = [&](const policy::LearnedModel& model, const policy::FitProgress& progress) {
    const auto learned = policy::make_learned_policy(model);
    std::fprintf(stderr,
                 "leadline: iteration %d: %zu decisions, loss %.4f; selection:", progress.iteration + 1,
                 progress.decisions, static_cast<double>(progress.loss));
    double sum = 0;
    for (std::size_t b = 0; b < tables.size(); ++b) {
      const double speedup = mean(tables[b].of(*learned));
      sum += speedup / static_cast<double>(tables.size());
      std::fprintf(stderr, " batch %d: %.3f", o.batches[b], speedup);
    }
    std::fprintf(stderr, "\n");
    if (sum <= most) return;
    most = sum;
    best.model = model;
    char text[256];
    (void)std::snprintf(text, sizeof text,
                        "fitted on %zu recorded answers, iteration %d of %d; %.3f x plain on selection",
                        in.all_of(policy::Split::train).size(), progress.iteration + 1, o.iterations, sum);
    best.provenance = text;
  };
  policy::fit_policy(in.trace, in.all_of(policy::Split::train), *in.costs, options, judge);
  best.model_identity = model_identity(in, o.inputs);
  if (auto saved = policy::save_policy(best, o.out); !saved) return fail_with(saved.error().message);
  std::printf("%s: %s\n", o.out.c_str(), best.provenance.c_str());
  return 0;
}

}  // namespace leadline::deploy
