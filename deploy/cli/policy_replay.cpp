// The commands of policy_training.h that replay recorded answers: replay, explore, lede, show.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "deploy/cli/policy_training.h"
#include "deploy/cli/replay_inputs.h"
#include "deploy/cli/svg_picture.h"
#include "policy/byte_file.h"
#include "policy/del_policy.h"
#include "policy/fixed_policy.h"
#include "policy/trainer/lede_training.h"
#include "policy/trainer/off_policy_eval.h"

namespace leadline::deploy {
namespace {

using policy::ReplayResult;

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

policy::TrajectoryHeader log_header(const ReplayInputs& in, const ReplayCommandOptions& o) {
  return {model_identity(in, o),
          !o.around.empty() ? "static"
          : in.policy       ? "learned"
                            : "threshold",
          static_cast<float>(o.epsilon), in.trace.layers, in.trace.exits};
}

std::unique_ptr<policy::ExitPolicy> starting_policy(const ReplayInputs& in, const ReplayCommandOptions& o) {
  if (o.around.size() == 2) return policy::make_logged_static(o.around[0], o.around[1]);
  if (in.policy) return policy::make_learned_policy(in.policy->model);
  // Where nothing was learned yet: a threshold at the exit a sixth of the way up.
  return policy::make_threshold_policy({.exit = std::max(1, in.trace.layers / 6), .threshold = 0.6F});
}

struct Setting {
  std::string name;
  std::unique_ptr<policy::ExitPolicy> policy;
  Speedups selection, shown;  // on what it is chosen by; on what is shown
};

// Best first on selection: its `count` best, and for each task the one that is best there.
void print_family(std::vector<Setting> settings, std::size_t count, const std::string& family,
                  std::string& grid) {
  std::ranges::sort(settings, std::ranges::greater(), [](const Setting& s) { return mean(s.selection); });
  for (std::size_t i = 0; i < std::min(count, settings.size()); ++i)
    SpeedupTable::print(settings[i].name, settings[i].shown);
  Speedups tuned, hindsight;
  for (const auto& [task, any] : settings.front().shown) {
    const auto best =
        std::ranges::max_element(settings, {}, [&](const Setting& s) { return s.selection.at(task); });
    tuned[task] = best->shown.at(task);
    for (const Setting& s : settings) hindsight[task] = std::max(hindsight[task], s.shown.at(task));
  }
  SpeedupTable::print(family + ", tuned per task", tuned);
  SpeedupTable::print(family + ", best of each task in hindsight", hindsight);
  for (const Setting& s : settings) {
    grid += s.name;
    for (const auto& [task, speedup] : s.shown) grid += ';' + std::to_string(speedup);
    grid += '\n';
  }
}

void print_grid(const ReplayInputs& in, const ReplayCommandOptions& o, const SpeedupTable& chosen_on,
                const SpeedupTable& table, std::string& grid) {
  std::vector<Setting> statics, thresholds;
  const auto add = [&](std::vector<Setting>& to, const std::string& name,
                       std::unique_ptr<policy::ExitPolicy> p) {
    to.push_back({name, nullptr, chosen_on.of(*p), table.of(*p)});
    to.back().policy = std::move(p);
  };
  for (const std::int32_t exit : in.trace.exits) {
    for (int drafts = 1; drafts <= o.max_draft; ++drafts)
      add(statics, "static (" + std::to_string(exit) + ", " + std::to_string(drafts) + ")",
          policy::make_static_policy(exit, drafts));
    for (const float least : {0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F, 0.9F, 0.95F, 0.98F}) {
      char name[64];
      (void)std::snprintf(name, sizeof name, "threshold (%d, %.2f)", exit, static_cast<double>(least));
      add(thresholds, name,
          policy::make_threshold_policy({.exit = exit, .max_draft = o.max_draft, .threshold = least}));
    }
  }
  grid = "setting";
  for (const auto& [task, answers] : table.tasks()) grid += ';' + task;
  grid += '\n';
  print_family(std::move(statics), 3, "static", grid);
  print_family(std::move(thresholds), 1, "threshold", grid);
}

}  // namespace

void add_replay_flags(CLI::App& command, ReplayCommandOptions& o) {
  command.option_defaults()->always_capture_default();
  command
      .add_option("--trace", o.traces, "Recorded answers (leadline policy trace); several are put together")
      ->required();
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
  command.add_option("--around", o.around, "explore: around static E,K in the place of a policy file")
      ->delimiter(',')
      ->expected(2);
  command.add_option("--log", o.log, "explore: directory for the logs");
  command.add_option("--repeats", o.repeats, "explore: passes over the training answers")
      ->check(CLI::Range(1, 1000));
  command.add_option("--seed", o.seed, "explore: of the draws");
  command.add_option("--grid", o.grid, "replay: file for every static setting and threshold, by task (CSV)");
  command.add_option("--picture", o.picture, "show: picture to write (SVG)");
  command.add_option("--split", o.split, "Answers that numbers are of; explore: that logs are of")
      ->check(
          CLI::IsMember(std::vector<std::string>(policy::kSplitNames.begin(), policy::kSplitNames.end())));
}

int run_replay(const ReplayCommandOptions& o) {
  ReplayInputs in;
  if (const std::string error = read_inputs(o, in); !error.empty()) return fail_with(error);
  const policy::Split split = *policy::split_of(o.split);
  if (!in.has(split) || !in.has(policy::Split::selection))
    return fail_with("replay: the traces need answers of the split selection and of " + o.split);
  const SpeedupTable chosen_on(in, policy::Split::selection, o.batch, o.max_draft);
  const SpeedupTable table(in, split, o.batch, o.max_draft);
  std::printf(
      "Speed-up over plain decoding, batch %d, %s answers; what has a choice was chosen on selection; "
      "costs: %s\n\n",
      o.batch, o.split.c_str(), in.costs->made_by().c_str());
  table.print_head();
  std::string grid;
  print_grid(in, o, chosen_on, table, grid);
  const auto show = [&](const char* name, const policy::ExitPolicy& p) {
    SpeedupTable::print(name, table.of(p));
  };
  show("DEL", *policy::make_del_policy());
  if (in.lede) show("LEDE as published", *policy::make_learned_policy(in.lede->model));
  if (in.policy) show("learned", *policy::make_learned_policy(in.policy->model));
  if (o.batch == 1) SpeedupTable::print("oracle", table.oracle());
  if (o.grid.empty()) return 0;
  if (auto saved = policy::write_file(o.grid, std::as_bytes(std::span(grid))); !saved)
    return fail_with(saved.error().message);
  return 0;
}

int run_explore(const ReplayCommandOptions& o) {
  ReplayInputs in;
  if (const std::string error = read_inputs(o, in); !error.empty()) return fail_with(error);
  if (o.log.empty()) return fail_with("explore: give --log DIRECTORY");
  auto log = policy::TrajectoryLog::open(o.log, log_header(in, o));
  if (!log) return fail_with(log.error().message);
  const auto current = starting_policy(in, o);
  policy::ReplayOptions options{
      .batch = o.batch, .max_draft = o.max_draft, .epsilon = static_cast<float>(o.epsilon)};
  options.sink = [&](const policy::Trajectory& round) { log->append(round); };
  const Answers explored = in.all_of(*policy::split_of(o.split));
  double tokens = 0, us = 0;
  for (int repeat = 0; repeat < o.repeats; ++repeat) {
    options.seed = static_cast<std::uint64_t>(o.seed) * 1000 + static_cast<std::uint64_t>(repeat) +
                   (static_cast<std::uint64_t>(o.batch) << 32U);
    const ReplayResult result = policy::replay(in.trace, explored, *current, *in.costs, options);
    tokens += result.tokens;
    us += result.us;
  }
  if (!log->flush() || log->dropped() > 0) return fail_with("explore: the log could not be written");
  std::printf("%llu rounds, %.1f us/token with exploration\n",
              static_cast<unsigned long long>(log->written()), us / tokens);
  return 0;
}

int run_lede(const ReplayCommandOptions& o) {
  ReplayInputs in;
  ReplayCommandOptions reading = o;
  reading.lede.clear();  // is written, not read
  if (const std::string error = read_inputs(reading, in); !error.empty()) return fail_with(error);
  if (o.lede.empty()) return fail_with("lede: give --lede FILE to write");
  policy::LedeOptions options;
  options.seed = static_cast<std::uint64_t>(o.seed);
  policy::PolicyFile file;
  file.model_identity = log_header(in, o).model_identity;
  file.provenance = "LEDE as published (arXiv 2606.03113), trained on recorded answers";
  file.model = policy::train_lede(in.trace, in.all_of(policy::Split::train), in.trace.exits, options);
  if (auto saved = policy::save_policy(file, o.lede); !saved) return fail_with(saved.error().message);
  return 0;
}

int run_show(const ReplayCommandOptions& o) {
  ReplayInputs in;
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
  for (const auto& [task, answers] : in.of(*policy::split_of(o.split))) {
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
