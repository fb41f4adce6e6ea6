#include "deploy/cli/policy_training.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "deploy/cli/svg_picture.h"
#include "policy/byte_file.h"
#include "policy/trainer/training.h"

namespace leadline::deploy {
namespace {

using policy::TrajectoryFile;

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

constexpr int kRefused = 3, kTooLittle = 4;  // exit statuses of `train` that are no failures

struct NamedLog {
  std::string path;
  bool named = false;  // by the caller; else found in a directory
};

// Files, and the logs in directories and below. A worker may drop or begin a file meanwhile.
std::vector<NamedLog> find_logs(const std::vector<std::string>& names) {
  std::vector<NamedLog> found;
  for (const std::string& name : names) {
    std::error_code error;
    if (!std::filesystem::is_directory(name, error)) {
      found.push_back({name, true});
      continue;
    }
    for (std::filesystem::recursive_directory_iterator entry(name, error), end; !error && entry != end;
         entry.increment(error))
      if (entry->path().extension() == ".lltj") found.push_back({entry->path().string(), false});
  }
  std::ranges::sort(found, {}, &NamedLog::path);
  return found;
}

bool same_model(const policy::TrajectoryHeader& a, const policy::TrajectoryHeader& b) {
  return a.model_identity == b.model_identity && a.layers == b.layers && a.exits == b.exits;
}

// A log of the caller's that cannot be read is an error; one found in a directory is left out and named.
policy::Result<std::vector<TrajectoryFile>> read_logs(const std::vector<std::string>& names,
                                                      bool latest_model = false) {
  std::vector<TrajectoryFile> logs;
  std::filesystem::file_time_type newest{};
  policy::TrajectoryHeader latest;
  for (const auto& [path, named] : find_logs(names)) {
    std::error_code error;
    const auto written = std::filesystem::last_write_time(path, error);
    auto log = policy::read_trajectories(path);
    if (!log && named) return tl::unexpected(log.error());
    if (!log) {
      std::fprintf(stderr, "leadline: %s: left out: %s\n", path.c_str(), log.error().message.c_str());
      continue;
    }
    if (log->damaged > 0)
      std::fprintf(stderr, "leadline: %s: %llu bytes at its end are damaged and left out\n", path.c_str(),
                   static_cast<unsigned long long>(log->damaged));
    if (logs.empty() || written >= newest) newest = written, latest = log->header;
    logs.push_back(std::move(*log));
  }
  if (latest_model) {
    const auto others =
        std::erase_if(logs, [&](const TrajectoryFile& log) { return !same_model(log.header, latest); });
    if (others > 0)
      std::fprintf(stderr, "leadline: %zu logs of other models or exits are left out\n", others);
  }
  return logs;
}

void print_estimate(const char* name, const policy::OffPolicyEstimate& e) {
  std::printf("%-26s %9.1f  [%.1f, %.1f]   %zu of %zu rounds agree, effective samples %.0f\n", name,
              e.us_per_token, e.low, e.high, e.agreed, e.rounds, e.effective_samples);
}

}  // namespace

void add_train_flags(CLI::App& command, TrainOptions& o) {
  command.option_defaults()->always_capture_default();
  command.add_option("logs", o.logs, "Trajectory logs, or directories of them")->required();
  command.add_option("-o,--out", o.out, "Policy file to write")->required();
  command.add_option("--curve", o.curve, "Learning curve to write (SVG); default: beside the policy");
  command.add_option("--steps", o.steps, "Steps of one sweep")->check(CLI::Range(10, 10'000'000));
  command.add_option("--sweeps", o.sweeps, "Sweeps of lambda towards its fixed point")
      ->check(CLI::Range(1, 20));
  command.add_option("--n-step", o.n_step, "Steps of a return")->check(CLI::Range(1, 64));
  command.add_option("--conservative", o.conservative, "Weight of the conservative term; 0: none")
      ->check(CLI::Range(0.0, 100.0));
  command.add_option("--held-out", o.held_out, "Share of sequences that only judge")
      ->check(CLI::Range(0.05, 0.9));
  command.add_option("--seed", o.seed, "Of the network and the batches");
  command.add_flag("--latest-model", o.latest_model,
                   "Of logs of several models use those of the newest file's");
  command.add_flag("--export-anyway", o.export_anyway,
                   "Write the policy though it is not shown to be better");
}

int run_train(const TrainOptions& o) {
  const auto logs = read_logs(o.logs, o.latest_model);
  if (!logs) return fail_with(logs.error().message);
  policy::TrainingOptions options;
  options.steps = o.steps;
  options.sweeps = o.sweeps;
  options.n_step = o.n_step;
  options.conservative = static_cast<float>(o.conservative);
  options.held_out = o.held_out;
  options.seed = static_cast<std::uint64_t>(o.seed);
  options.export_anyway = o.export_anyway;
  int last = -1;
  options.progress = [&](const std::string& stage, int step, int steps, float loss) {
    const int percent = 100 * step / steps / 10 * 10;
    if (percent == last) return;
    last = percent;
    std::fprintf(stderr, "leadline: training, %s: %3d %%, loss %.4f\n", stage.c_str(), percent,
                 static_cast<double>(loss));
  };
  policy::TrainingReport report;
  const auto file = policy::train_policy(*logs, options, report);
  if (!report.curve.empty()) {
    const std::string picture =
        svg_curve("Learning curve", "steps", "loss (mean of the last 100)", report.curve);
    const std::string path = o.curve.empty() ? o.out + ".curve.svg" : o.curve;
    if (auto saved = policy::write_file(path, std::as_bytes(std::span(picture))); !saved)
      return fail_with(saved.error().message);
  }
  if (!file) {
    (void)fail_with("not exported: " + file.error().message);
    if (file.error().code == policy::Errc::not_better) return kRefused;
    return file.error().code == policy::Errc::configuration ? kTooLittle : 1;
  }
  if (auto saved = policy::save_policy(*file, o.out); !saved) return fail_with(saved.error().message);
  std::printf("%s: %s\n", o.out.c_str(), file->provenance.c_str());
  return 0;
}

void add_export_flags(CLI::App& command, ExportOptions& o) {
  command.add_option("policy", o.policy, "Policy file (leadline policy fit)")->required();
  command.add_option("--baselines", o.baselines,
                     "Exploration logs around static settings: the best of each batch size must be beaten");
  command.add_option("logs", o.logs, "Exploration logs that it did not learn from, or directories of them")
      ->required();
  command.add_option("-o,--out", o.out, "Policy file to write")->required();
}

int run_export(const ExportOptions& o) {
  auto file = policy::load_policy(o.policy);
  if (!file) return fail_with(o.policy + ": " + file.error().message);
  const auto logs = read_logs(o.logs);
  if (!logs) return fail_with(logs.error().message);
  std::vector<TrajectoryFile> around;
  if (!o.baselines.empty()) {
    auto read = read_logs(o.baselines);
    if (!read) return fail_with(read.error().message);
    around = std::move(*read);
  }
  policy::TrainingReport report;
  if (auto judged = policy::judge_policy(*logs, around, *file, report); !judged)
    return fail_with("not exported: " + judged.error().message);
  if (auto saved = policy::save_policy(*file, o.out); !saved) return fail_with(saved.error().message);
  std::printf("%s: %s\n", o.out.c_str(), file->provenance.c_str());
  return 0;
}

void add_eval_flags(CLI::App& command, EvalOptions& o) {
  command.add_option("policy", o.policy, "Policy file")->required();
  command.add_option("logs", o.logs, "Trajectory logs that it was not trained on, or directories of them")
      ->required();
}

int run_eval(const EvalOptions& o) {
  const auto file = policy::load_policy(o.policy);
  if (!file) return fail_with(o.policy + ": " + file.error().message);
  const auto logs = read_logs(o.logs);
  if (!logs) return fail_with(logs.error().message);
  std::vector<policy::Trajectory> rounds;
  for (const TrajectoryFile& log : *logs) {
    if (log.header.model_identity != file->model_identity || log.header.layers != file->model.layers)
      return fail_with("a log is of model " + log.header.model_identity + ", the policy of " +
                       file->model_identity);
    rounds.insert(rounds.end(), log.rounds.begin(), log.rounds.end());
  }
  if (rounds.empty()) return fail_with("the logs hold no rounds");
  const auto learned = policy::make_learned_policy(file->model);
  const auto& exits = logs->front().header.exits;
  std::printf("%-26s %9s  %s\n", "", "us/token", "95 % (bootstrap over sequences)");
  print_estimate("policy", policy::estimate(rounds, *learned, file->model.layers, exits));
  const auto best = policy::best_static(rounds, file->model.layers, exits, file->model.max_draft);
  const std::string name = best.drafts == 0
                               ? "plain decoding"
                               : "static " + std::to_string(best.exit) + ", " + std::to_string(best.drafts);
  print_estimate(name.c_str(), best.estimate);
  return 0;
}

}  // namespace leadline::deploy
