// The commands of policy_training.h that replay recorded answers: replay, explore, lede, show.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>

#include "deploy/cli/policy_training.h"
#include "deploy/cli/svg_picture.h"
#include "policy/byte_file.h"
#include "policy/del_policy.h"
#include "policy/fixed_policy.h"
#include "policy/policy_file.h"
#include "policy/trainer/lede_training.h"
#include "policy/trainer/replay.h"
#include "policy/trajectory_log.h"

namespace leadline::deploy {
namespace {

using policy::AnswerTrace;
using policy::ReplayResult;
using Answers = std::vector<const AnswerTrace*>;

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

// What all of these commands read.
struct Inputs {
  policy::DecodeTrace trace;
  std::optional<policy::CostTable> costs;
  std::optional<policy::PolicyFile> policy, lede;
  std::map<std::string, Answers> held_out, train;  // by task and temperature
  Answers all_train;
};

void keep_exits(policy::DecodeTrace& trace, const std::set<std::int32_t>& kept) {
  for (AnswerTrace& answer : trace.answers) {
    std::vector<policy::ExitTrace> exits;
    for (std::size_t e = 0; e < trace.exits.size(); ++e)
      if (kept.contains(trace.exits[e])) exits.push_back(std::move(answer.exits[e]));
    answer.exits = std::move(exits);
  }
  std::erase_if(trace.exits, [&](std::int32_t exit) { return !kept.contains(exit); });
}

std::string read_policies(const ReplayCommandOptions& o, Inputs& in) {
  for (const auto& [path, into] : {std::pair{&o.policy, &in.policy}, std::pair{&o.lede, &in.lede}}) {
    if (path->empty()) continue;
    auto file = policy::load_policy(*path);
    if (!file) return *path + ": " + file.error().message;
    if (file->model.layers != in.trace.layers)
      return *path + ": of " + std::to_string(file->model.layers) + " layers, the trace has " +
             std::to_string(in.trace.layers) + " (--deepen?)";
    *into = std::move(*file);
  }
  return "";
}

// The reason it failed, or nothing.
std::string read_inputs(const ReplayCommandOptions& o, Inputs& in) {
  auto trace = policy::load_trace(o.trace);
  if (!trace) return trace.error().message;
  in.trace = policy::deepened(std::move(*trace), o.deepen);
  auto costs = policy::CostTable::load(o.costs);
  if (!costs) return costs.error().message;
  in.costs = std::move(*costs);
  if (in.costs->layers() != in.trace.layers)
    return "costs of " + std::to_string(in.costs->layers()) + " layers, the trace has " +
           std::to_string(in.trace.layers) + " (--deepen?)";
  if (std::string error = read_policies(o, in); !error.empty()) return error;
  std::set<std::int32_t> kept(o.exits.begin(), o.exits.end());
  if (kept.empty() && in.policy) kept = {in.policy->model.exits.begin(), in.policy->model.exits.end()};
  for (const std::int32_t exit : kept)
    if (std::ranges::find(in.trace.exits, exit) == in.trace.exits.end())
      return "exit " + std::to_string(exit) + " is not in the trace";
  if (!kept.empty()) keep_exits(in.trace, kept);
  for (const AnswerTrace& answer : in.trace.answers) {
    const std::string name = answer.task + (answer.temperature > 0 ? " T" : " greedy");
    (answer.held_out ? in.held_out : in.train)[name].push_back(&answer);
    if (!answer.held_out) in.all_train.push_back(&answer);
  }
  if (in.held_out.empty() || in.all_train.empty()) return o.trace + ": needs answers of both splits";
  return "";
}

policy::TrajectoryHeader log_header(const Inputs& in, const ReplayCommandOptions& o) {
  return {in.trace.fingerprint + (o.deepen > 1 ? " x" + std::to_string(o.deepen) : ""),
          in.policy ? "learned" : "threshold", static_cast<float>(o.epsilon), in.trace.layers,
          in.trace.exits};
}

std::unique_ptr<policy::ExitPolicy> starting_policy(const Inputs& in) {
  if (in.policy) return policy::make_learned_policy(in.policy->model);
  // Where nothing was learned yet: a threshold at the exit a sixth of the way up.
  return policy::make_threshold_policy({.exit = std::max(1, in.trace.layers / 6), .threshold = 0.6F});
}

class Table {
 public:
  Table(const Inputs& in, const ReplayCommandOptions& o)
      : in_(in),
        tasks_(o.train_split ? in.train : in.held_out),
        options_{.batch = o.batch, .max_draft = o.max_draft} {
    const auto off = policy::make_off_policy();
    for (const auto& [task, answers] : tasks_) plain_[task] = time_of(answers, *off);
  }

  [[nodiscard]] double time_of(const Answers& answers, const policy::ExitPolicy& p) const {
    return policy::replay(in_.trace, answers, p, *in_.costs, options_).us_per_token();
  }
  // Speed-ups over plain decoding by task.
  [[nodiscard]] std::map<std::string, double> speedups(const policy::ExitPolicy& p) const {
    std::map<std::string, double> out;
    for (const auto& [task, answers] : tasks_) out[task] = plain_.at(task) / time_of(answers, p);
    return out;
  }
  [[nodiscard]] std::map<std::string, double> oracle() const {
    std::map<std::string, double> out;
    for (const auto& [task, answers] : tasks_)
      out[task] =
          plain_.at(task) / policy::oracle(in_.trace, answers, *in_.costs, options_.max_draft).us_per_token();
    return out;
  }
  void print_head() const {
    std::printf("| policy | mean |");
    for (const auto& [task, answers] : tasks_) std::printf(" %s |", task.c_str());
    std::printf("\n| --- | --- |");
    for (std::size_t i = 0; i < tasks_.size(); ++i) std::printf(" --- |");
    std::printf("\n");
  }
  static double mean(const std::map<std::string, double>& speedups) {
    double sum = 0;
    for (const auto& [task, speedup] : speedups) sum += speedup;
    return sum / static_cast<double>(speedups.size());
  }
  static void print(const std::string& name, const std::map<std::string, double>& speedups) {
    std::printf("| %s | %.2f |", name.c_str(), mean(speedups));
    for (const auto& [task, speedup] : speedups) std::printf(" %.2f |", speedup);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  const Inputs& in_;
  const std::map<std::string, Answers>& tasks_;
  const policy::ReplayOptions options_;
  std::map<std::string, double> plain_;  // us per token
};

struct Named {
  std::string name;
  std::map<std::string, double> speedups;
};

// All of `settings`, best mean first, and the best of each task on its own.
void print_best(std::vector<Named> settings, std::size_t count, const std::string& family) {
  std::ranges::sort(settings, std::ranges::greater(), [](const Named& n) { return Table::mean(n.speedups); });
  for (std::size_t i = 0; i < std::min(count, settings.size()); ++i)
    Table::print(settings[i].name, settings[i].speedups);
  std::map<std::string, double> best;
  for (const Named& setting : settings)
    for (const auto& [task, speedup] : setting.speedups) best[task] = std::max(best[task], speedup);
  Table::print(family + ", tuned per task in hindsight", best);
}

void print_grid(const Inputs& in, const Table& table, int max_draft) {
  std::vector<Named> statics, thresholds;
  for (const std::int32_t exit : in.trace.exits) {
    for (int drafts = 1; drafts <= max_draft; ++drafts)
      statics.push_back({"static (" + std::to_string(exit) + ", " + std::to_string(drafts) + ")",
                         table.speedups(*policy::make_static_policy(exit, drafts))});
    for (const float least : {0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F, 0.9F, 0.95F, 0.98F}) {
      char name[64];
      (void)std::snprintf(name, sizeof name, "threshold (%d, %.2f)", exit, static_cast<double>(least));
      thresholds.push_back({name, table.speedups(*policy::make_threshold_policy(
                                      {.exit = exit, .max_draft = max_draft, .threshold = least}))});
    }
  }
  print_best(std::move(statics), 3, "static");
  print_best(std::move(thresholds), 1, "threshold");
}

}  // namespace

void add_replay_flags(CLI::App& command, ReplayCommandOptions& o) {
  command.option_defaults()->always_capture_default();
  command.add_option("--trace", o.trace, "Recorded answers (leadline policy trace)")->required();
  command.add_option("--costs", o.costs, "Cost table (leadline policy costs)")->required();
  command.add_option("--policy", o.policy, "Policy file; explore: what is explored around");
  command.add_option("--lede", o.lede, "Policy file of LEDE as published; lede: where it is written");
  command.add_option("--exits", o.exits, "Candidate exits; default: the policy's, else all")->delimiter(',');
  command.add_option("--deepen", o.deepen, "Layers and exits times so many: the trace of an inflated model")
      ->check(CLI::Range(1, 64));
  command.add_option("--batch", o.batch, "Sequences in lock step")->check(CLI::Range(1, 256));
  command.add_option("--max-draft", o.max_draft, "Drafts of one round")->check(CLI::Range(1, 16));
  command.add_option("--epsilon", o.epsilon, "explore: share of decisions at random")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--log", o.log, "explore: directory for the logs");
  command.add_option("--repeats", o.repeats, "explore: passes over the training answers")
      ->check(CLI::Range(1, 1000));
  command.add_option("--seed", o.seed, "explore: of the draws");
  command.add_option("--picture", o.picture, "show: picture to write (SVG)");
  command.add_flag("--train-split", o.train_split, "The training answers instead of the held-out ones");
}

int run_replay(const ReplayCommandOptions& o) {
  Inputs in;
  if (const std::string error = read_inputs(o, in); !error.empty()) return fail_with(error);
  const Table table(in, o);
  std::printf("Speed-up over plain decoding, batch %d, %s answers; costs: %s\n\n", o.batch,
              o.train_split ? "training" : "held-out", in.costs->made_by().c_str());
  table.print_head();
  print_grid(in, table, o.max_draft);
  Table::print("DEL", table.speedups(*policy::make_del_policy()));
  if (in.lede)
    Table::print("LEDE as published", table.speedups(*policy::make_learned_policy(in.lede->model)));
  if (in.policy) Table::print("learned", table.speedups(*policy::make_learned_policy(in.policy->model)));
  if (o.batch == 1) Table::print("oracle", table.oracle());
  return 0;
}

int run_explore(const ReplayCommandOptions& o) {
  Inputs in;
  if (const std::string error = read_inputs(o, in); !error.empty()) return fail_with(error);
  if (o.log.empty()) return fail_with("explore: give --log DIRECTORY");
  auto log = policy::TrajectoryLog::open(o.log, log_header(in, o));
  if (!log) return fail_with(log.error().message);
  const auto current = starting_policy(in);
  policy::ReplayOptions options{
      .batch = o.batch, .max_draft = o.max_draft, .epsilon = static_cast<float>(o.epsilon)};
  options.sink = [&](const policy::Trajectory& round) { log->append(round); };
  double tokens = 0, us = 0;
  for (int repeat = 0; repeat < o.repeats; ++repeat) {
    options.seed = static_cast<std::uint64_t>(o.seed) * 1000 + static_cast<std::uint64_t>(repeat) +
                   (static_cast<std::uint64_t>(o.batch) << 32U);
    const ReplayResult result = policy::replay(in.trace, in.all_train, *current, *in.costs, options);
    tokens += result.tokens;
    us += result.us;
  }
  if (!log->flush() || log->dropped() > 0) return fail_with("explore: the log could not be written");
  std::printf("%llu rounds, %.1f us/token with exploration\n",
              static_cast<unsigned long long>(log->written()), us / tokens);
  return 0;
}

int run_lede(const ReplayCommandOptions& o) {
  Inputs in;
  ReplayCommandOptions reading = o;
  reading.lede.clear();  // is written, not read
  if (const std::string error = read_inputs(reading, in); !error.empty()) return fail_with(error);
  if (o.lede.empty()) return fail_with("lede: give --lede FILE to write");
  policy::LedeOptions options;
  options.seed = static_cast<std::uint64_t>(o.seed);
  policy::PolicyFile file;
  file.model_identity = log_header(in, o).model_identity;
  file.provenance = "LEDE as published (arXiv 2606.03113), trained on recorded answers";
  file.model = policy::train_lede(in.trace, in.all_train, in.trace.exits, options);
  if (auto saved = policy::save_policy(file, o.lede); !saved) return fail_with(saved.error().message);
  return 0;
}

int run_show(const ReplayCommandOptions& o) {
  Inputs in;
  if (const std::string error = read_inputs(o, in); !error.empty()) return fail_with(error);
  if (!in.policy) return fail_with("show: give --policy FILE");
  const auto learned = policy::make_learned_policy(in.policy->model);
  std::printf("%s\n\n", in.policy->provenance.c_str());
  std::vector<std::string> columns{"plain"};
  for (const std::int32_t exit : in.trace.exits) columns.push_back("E" + std::to_string(exit));
  for (int passes = 1; passes <= o.max_draft + 1; ++passes) columns.push_back(std::to_string(passes));
  std::printf("| task | plain |");
  for (std::size_t c = 1; c < columns.size(); ++c) std::printf(" %s |", columns[c].c_str());
  std::printf(" stood |\n|");
  for (std::size_t c = 0; c < columns.size() + 2; ++c) std::printf(" --- |");
  std::printf("\n");
  std::vector<BarRow> rows;
  for (const auto& [task, answers] : o.train_split ? in.train : in.held_out) {
    const ReplayResult r =
        policy::replay(in.trace, answers, *learned, *in.costs, {.batch = o.batch, .max_draft = o.max_draft});
    double steps = 0;
    for (const auto& [exit, count] : r.exits) steps += count;
    const auto share = [&](const std::map<std::int32_t, double>& of, std::int32_t key) {
      const auto found = of.find(key);
      return found == of.end() ? 0.0 : found->second / steps;
    };
    BarRow row{task, {share(r.exits, 0)}};
    for (const std::int32_t exit : in.trace.exits) row.shares.push_back(share(r.exits, exit));
    for (int passes = 1; passes <= o.max_draft + 1; ++passes) row.shares.push_back(share(r.lengths, passes));
    std::printf("| %s |", task.c_str());
    for (const double value : row.shares) std::printf(" %.0f |", 100 * value);
    std::printf(" %.0f |\n", 100 * r.accepted / std::max(1.0, r.drafted));
    rows.push_back(std::move(row));
  }
  std::printf(
      "\nPer cent of steps: plain, by exit (E), by passes; of the drafts that were verified, how many "
      "stood.\n");
  if (o.picture.empty()) return 0;
  const std::string picture = svg_bars("Share of steps (%): plain, by exit, by passes", columns, rows);
  if (auto saved = policy::write_file(o.picture, std::as_bytes(std::span(picture))); !saved)
    return fail_with(saved.error().message);
  return 0;
}

}  // namespace leadline::deploy
