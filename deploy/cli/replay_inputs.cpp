#include "deploy/cli/replay_inputs.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "policy/fixed_policy.h"

namespace leadline::deploy {
namespace {

using policy::AnswerTrace;

void keep_exits(policy::DecodeTrace& trace, const std::set<std::int32_t>& kept) {
  for (AnswerTrace& answer : trace.answers) {
    std::vector<policy::ExitTrace> exits;
    for (std::size_t e = 0; e < trace.exits.size(); ++e)
      if (kept.contains(trace.exits[e])) exits.push_back(std::move(answer.exits[e]));
    answer.exits = std::move(exits);
  }
  std::erase_if(trace.exits, [&](std::int32_t exit) { return !kept.contains(exit); });
}

std::string read_policies(const ReplayCommandOptions& o, ReplayInputs& in) {
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

std::string read_traces(const ReplayCommandOptions& o, policy::DecodeTrace& all) {
  for (const std::string& path : o.traces) {
    auto trace = policy::load_trace(path);
    if (!trace) return trace.error().message;
    const bool same = trace->fingerprint == all.fingerprint && trace->exits == all.exits &&
                      trace->max_draft == all.max_draft;
    if (all.layers != 0 && !same)
      return path + ": of another model, or with other exits or drafts than " + o.traces[0];
    std::vector<AnswerTrace> answers = std::move(all.answers);
    std::ranges::move(trace->answers, std::back_inserter(answers));
    all = std::move(*trace);
    all.answers = std::move(answers);
  }
  all = policy::deepened(std::move(all), o.deepen);
  return "";
}

}  // namespace

std::string read_inputs(const ReplayCommandOptions& o, ReplayInputs& in) {
  if (std::string error = read_traces(o, in.trace); !error.empty()) return error;
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
    in.splits[static_cast<std::size_t>(answer.split)][name].push_back(&answer);
  }
  return "";
}

Answers ReplayInputs::all_of(policy::Split split) const {
  Answers all;
  for (const auto& [task, answers] : of(split)) all.insert(all.end(), answers.begin(), answers.end());
  return all;
}

std::string model_identity(const ReplayInputs& in, const ReplayCommandOptions& o) {
  if (!in.costs->model().empty()) return in.costs->model();
  return in.trace.fingerprint + (o.deepen > 1 ? " x" + std::to_string(o.deepen) : "");
}

double mean(const Speedups& speedups) {
  double sum = 0;
  for (const auto& [task, speedup] : speedups) sum += speedup;
  return sum / static_cast<double>(speedups.size());
}

SpeedupTable::SpeedupTable(const ReplayInputs& in, policy::Split split, int batch, int max_draft)
    : in_(in), tasks_(in.of(split)), options_{.batch = batch, .max_draft = max_draft} {
  const auto off = policy::make_off_policy();
  for (const auto& [task, answers] : tasks_) plain_[task] = time_of(answers, *off);
}

double SpeedupTable::time_of(const Answers& answers, const policy::ExitPolicy& policy) const {
  return policy::replay(in_.trace, answers, policy, *in_.costs, options_).us_per_token();
}

Speedups SpeedupTable::of(const policy::ExitPolicy& policy) const {
  Speedups out;
  for (const auto& [task, answers] : tasks_) out[task] = plain_.at(task) / time_of(answers, policy);
  return out;
}

Speedups SpeedupTable::oracle() const {
  Speedups out;
  for (const auto& [task, answers] : tasks_)
    out[task] =
        plain_.at(task) / policy::oracle(in_.trace, answers, *in_.costs, options_.max_draft).us_per_token();
  return out;
}

void SpeedupTable::print_head() const {
  std::printf("| policy | mean |");
  for (const auto& [task, answers] : tasks_) std::printf(" %s |", task.c_str());
  std::printf("\n| --- | --- |");
  for (std::size_t i = 0; i < tasks_.size(); ++i) std::printf(" --- |");
  std::printf("\n");
}

void SpeedupTable::print(const std::string& name, const Speedups& speedups) {
  std::printf("| %s | %.2f |", name.c_str(), mean(speedups));
  for (const auto& [task, speedup] : speedups) std::printf(" %.2f |", speedup);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace leadline::deploy
