// `leadline policy agree`: real runs (tests/bench/speculation_runs.py) beside the replay of the same
// stretches of the same answers.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "deploy/cli/policy_training.h"
#include "deploy/cli/replay_inputs.h"
#include "policy/del_policy.h"
#include "policy/fixed_policy.h"

namespace leadline::deploy {
namespace {

constexpr int kResamples = 2000;

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

struct Run {  // of one policy and group
  int group = 0;
  double measured_us = 0, replayed_us = 0;  // per token
  bool same_answers = false;                // as the baseline's
  bool as_recorded = false;                 // as the trace's
};

using Runs = std::map<std::string, std::vector<Run>>;  // by policy

std::unique_ptr<policy::ExitPolicy> policy_named(const std::string& text, const ReplayInputs& in) {
  int exit = 0, drafts = 0;
  float least = 0;
  if (text == "off") return policy::make_off_policy();
  if (text == "del") return policy::make_del_policy();
  if (std::sscanf(text.c_str(), "static:%d,%d", &exit, &drafts) == 2)
    return policy::make_static_policy(exit, drafts);
  if (std::sscanf(text.c_str(), "threshold:%d,%d,%f", &exit, &drafts, &least) == 3)
    return policy::make_threshold_policy({.exit = exit, .max_draft = drafts, .threshold = least});
  if (text == "auto") return in.policy ? policy::make_learned_policy(in.policy->model) : nullptr;
  if (!text.starts_with("file:")) return nullptr;
  auto file = policy::load_policy(text.substr(5));
  return file ? policy::make_learned_policy(std::move(file->model)) : nullptr;
}

// What `line` measured, and the same by replay; the reason in `error` if it does not fit the trace.
Run run_of(const nlohmann::json& line, const ReplayInputs& in, int max_draft, std::string& error) {
  Run run;
  run.group = line.at("group").get<int>();
  run.same_answers = line.at("same").get<bool>();
  const auto split = policy::split_of(line.at("split").get<std::string>());
  const auto temperature = line.at("temperature").get<float>();
  std::vector<const policy::AnswerTrace*> recorded;
  for (const policy::AnswerTrace& answer : in.trace.answers)
    if (split && answer.split == *split && answer.temperature == temperature) recorded.push_back(&answer);
  std::vector<policy::ReplayStart> starts;
  double tokens = 0;
  run.as_recorded = true;
  for (std::size_t i = 0; i < line.at("prompts").size(); ++i) {
    const auto index = line["prompts"][i].get<std::size_t>();
    const int begin = line.at("begin").at(i).get<int>();
    if (index >= recorded.size()) {
      error = "prompt " + std::to_string(index) + " is not in the traces";
      return run;
    }
    tokens += line.at("end").at(i).get<int>() - begin;
    const auto answered = line.at("tokens").at(i).get<std::vector<std::int32_t>>();
    const auto given = static_cast<int>(std::min(answered.size(), recorded[index]->tokens.size()));
    if (begin < 1 || begin >= given) {
      error = "begin " + std::to_string(begin) + " of prompt " + std::to_string(index) +
              " is not within its tokens, " + std::to_string(given);
      return run;
    }
    starts.push_back({recorded[index], begin, given});
    run.as_recorded &= answered.size() <= recorded[index]->tokens.size() &&
                       std::equal(answered.begin(), answered.end(), recorded[index]->tokens.begin());
  }
  const auto policy = policy_named(line.at("policy").get<std::string>(), in);
  if (policy == nullptr) {
    error = "policy " + line["policy"].get<std::string>() + " cannot be read";
    return run;
  }
  run.measured_us = line.at("seconds").get<double>() * 1e6 / tokens;
  run.replayed_us = policy::replay_together(in.trace, starts, *policy, *in.costs, max_draft).us_per_token();
  return run;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v / static_cast<double>(values.size());
  return sum;
}

struct Interval {
  double low = 0, high = 0;
};

// 95 % by the bootstrap over groups.
Interval interval(const std::vector<double>& values, double (*statistic)(std::vector<double>)) {
  std::mt19937_64 random(1);
  std::vector<double> drawn;
  for (int i = 0; i < kResamples; ++i) {
    std::vector<double> sample;
    for (std::size_t n = 0; n < values.size(); ++n) sample.push_back(values[random() % values.size()]);
    drawn.push_back(statistic(std::move(sample)));
  }
  std::ranges::sort(drawn);
  return {drawn[kResamples / 40], drawn[kResamples - 1 - kResamples / 40]};
}

void print_runs(const Runs& runs, const std::string& baseline) {
  std::printf(
      "| policy | groups | ms/token | replay | measured / replay | speed-up, mean [95 %%] | median [95 %%] | "
      "replay's |"
      " answers as the baseline's, as recorded |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  std::map<int, const Run*> plain;
  for (const Run& run : runs.at(baseline)) plain[run.group] = &run;
  for (const auto& [name, all] : runs) {
    std::vector<double> measured, replayed, ratios, faster, expected;
    int same = 0, recorded = 0;
    for (const Run& run : all) {
      measured.push_back(run.measured_us * 1e-3);
      replayed.push_back(run.replayed_us * 1e-3);
      same += run.same_answers ? 1 : 0;
      recorded += run.as_recorded ? 1 : 0;
      const auto found = plain.find(run.group);
      if (found == plain.end()) continue;
      faster.push_back(found->second->measured_us / run.measured_us);
      expected.push_back(found->second->replayed_us / run.replayed_us);
    }
    const Interval by_mean = interval(faster, [](std::vector<double> v) { return mean_of(v); });
    const Interval by_median = interval(faster, median);
    std::printf("| %s | %zu | %.1f | %.1f | %.3f | %.2f [%.2f, %.2f] | %.3f [%.3f, %.3f] | %.2f | %d, %d |\n",
                name.c_str(), all.size(), mean_of(measured), mean_of(replayed),
                mean_of(measured) / mean_of(replayed), mean_of(faster), by_mean.low, by_mean.high,
                median(faster), by_median.low, by_median.high, mean_of(expected), same, recorded);
  }
}

}  // namespace

void add_agree_flags(CLI::App& command, AgreeOptions& o) {
  add_replay_flags(command, o.inputs);
  command.add_option("--runs", o.runs, "Lines of tests/bench/speculation_runs.py")->required();
  command.add_option("--baseline", o.baseline, "Policy that others are compared with");
}

int run_agree(const AgreeOptions& o) {
  ReplayInputs in;
  if (const std::string error = read_inputs(o.inputs, in); !error.empty()) return fail_with(error);
  std::ifstream file(o.runs);
  if (!file) return fail_with("cannot open " + o.runs);
  std::map<int, Runs> batches;
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    std::string error = line.is_object() ? "" : "not an object";
    try {
      const Run run = run_of(line, in, o.inputs.max_draft, error);
      if (error.empty())
        batches[line.at("batch").get<int>()][line.at("policy").get<std::string>()].push_back(run);
    } catch (const nlohmann::json::exception& e) {
      error = e.what();
    }
    if (!error.empty()) return fail_with(o.runs + ":" + std::to_string(number) + ": " + error);
  }
  for (const auto& [batch, runs] : batches) {
    if (!runs.contains(o.baseline))
      return fail_with("no runs of " + o.baseline + " at batch " + std::to_string(batch));
    std::printf("\nbatch %d\n\n", batch);
    print_runs(runs, o.baseline);
  }
  return 0;
}

}  // namespace leadline::deploy
