#include "policy/trainer/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "monitoring/check.h"
#include "policy/decision_draw.h"
#include "policy/trainer/round_walk.h"

namespace leadline::policy {
namespace {

// One sequence, and what its log says of the round at hand.
struct Runner {
  RoundWalk walk;
  std::uint64_t id = 0;
  std::uint32_t round = 0;
  Trajectory trajectory;
};

class Replay {
 public:
  Replay(const ExitPolicy& policy, const CostTable& costs, const ReplayOptions& options)
      : policy_(policy), costs_(costs), options_(options) {}

  // One step of all `runners`; returns its time.
  double step(std::span<Runner> runners);
  ReplayResult result;

 private:
  Action decide(Runner& r, const DecisionPoint& point);
  void begin(Runner& r);
  double draft_pass(std::span<Runner> runners);
  double verify(std::span<Runner> runners);
  void settle(Runner& r);
  double charge_layers(std::span<Runner* const> rows, std::int32_t first, std::int32_t last);
  double charge(std::span<Runner* const> rows, double us);
  void count(std::span<Runner* const> rows, std::int32_t first, std::int32_t last);

  const ExitPolicy& policy_;
  const CostTable& costs_;
  const ReplayOptions& options_;
  std::int32_t batch_rows_ = 1;
};

Action Replay::decide(Runner& r, const DecisionPoint& point) {
  ActionDistribution wanted = policy_.decide(point);
  if (options_.epsilon > 0) wanted = explore(point, wanted, options_.epsilon);
  const auto number = static_cast<std::uint32_t>(r.trajectory.decisions.size());
  const Action action =
      options_.epsilon > 0 ? wanted.draw(decision_uniform(r.id, r.round, number)) : wanted.mode();
  LEADLINE_CHECK(is_legal(point, action), "policies choose legal actions");
  r.trajectory.decisions.push_back({point.kind, point.exit, point.drafted, point.max_draft, point.features,
                                    action, wanted.probability(action), 0});
  return action;
}

void Replay::begin(Runner& r) {
  r.trajectory = {};
  r.trajectory.sequence = r.id;
  r.trajectory.round = r.round;
  r.trajectory.batch_rows = r.walk.batch_rows = batch_rows_;
  r.walk.begin(decide(r, r.walk.start_point(options_.max_draft)));
}

// Shares a cost among the rows' sequences, on their latest decision.
double Replay::charge(std::span<Runner* const> rows, double us) {
  for (Runner* r : rows)
    r->trajectory.decisions.back().cost_us += static_cast<float>(us / static_cast<double>(rows.size()));
  return us;
}

double Replay::charge_layers(std::span<Runner* const> rows, std::int32_t first, std::int32_t last) {
  if (rows.empty() || last <= first) return 0;
  double context = 0;
  for (const Runner* r : rows) context += r->walk.context() / static_cast<double>(rows.size());
  return charge(rows, (last - first) * costs_.layer_us(static_cast<double>(rows.size()), context));
}

// Rows of a draft pass that run layers [first, last); none: that are probed at `last`.
void Replay::count(std::span<Runner* const> rows, std::int32_t first, std::int32_t last) {
  if (rows.empty()) return;
  const RoundWalk& walk = rows.front()->walk;
  const std::vector<std::int32_t>& exits = walk.trace->exits;
  std::vector<PassRows>& passes = result.company.passes;
  while (passes.size() < static_cast<std::size_t>(walk.passes))
    passes.push_back({std::vector<double>(exits.size()), std::vector<double>(exits.size())});
  PassRows& pass = passes[static_cast<std::size_t>(walk.passes - 1)];
  for (std::size_t e = 0; e < exits.size(); ++e) {
    if (first == last && exits[e] == last) pass.heads[e] += static_cast<double>(rows.size());
    if (exits[e] > first && exits[e] <= last) pass.layers[e] += static_cast<double>(rows.size());
  }
}

// One pass of every round that is open; climbs go up in stages, each ended by its probe.
double Replay::draft_pass(std::span<Runner> runners) {
  double us = 0;
  std::vector<Runner*> going;
  for (Runner& r : runners) {
    if (!r.walk.open) continue;
    going.push_back(&r);
    r.walk.start_pass();
  }
  std::int32_t layer = 0;
  while (!going.empty()) {
    std::int32_t next = going.front()->walk.target;
    for (const Runner* r : going) next = std::min(next, r->walk.target);
    if (layer == 0) us += charge(going, costs_.pass_us());
    us += charge_layers(going, layer, next);
    count(going, layer, next);
    layer = next;
    std::vector<Runner*> above, probed;
    for (Runner* r : going) {
      if (r->walk.target > layer) {
        above.push_back(r);
        continue;
      }
      r->walk.reach(layer);
      if (r->walk.asks())
        probed.push_back(r);
      else
        r->walk.open = false;
    }
    if (!probed.empty()) {
      const auto rows = static_cast<double>(probed.size());
      us += charge(probed, costs_.head_us(rows) + rows * costs_.probe_us());
      count(probed, layer, layer);
    }
    for (Runner* r : probed) {
      r->walk.decided(decide(*r, r->walk.probe_point()));
      if (r->walk.open && r->walk.target > layer) above.push_back(r);
    }
    going = std::move(above);
  }
  return us;
}

double Replay::verify(std::span<Runner> runners) {
  double us = 0;
  std::vector<Runner*> heads;
  for (Runner& r : runners)
    for (std::int32_t row = 0; row < std::max(r.walk.passes, 1); ++row) heads.push_back(&r);
  us += charge(heads, costs_.pass_us());
  const DecodeTrace& trace = *runners.front().walk.trace;
  std::vector<std::int32_t> joins{0};
  for (const Runner& r : runners) joins.push_back(r.walk.depth);
  joins.push_back(trace.layers);
  std::ranges::sort(joins);
  for (std::size_t j = 0; j + 1 < joins.size(); ++j) {
    std::vector<Runner*> rows;
    for (Runner* r : heads)
      if (r->walk.depth <= joins[j]) rows.push_back(r);
    us += charge_layers(rows, joins[j], joins[j + 1]);
  }
  const auto rows = static_cast<double>(heads.size());
  us += charge(heads, costs_.head_us(rows) + rows * costs_.probe_us());
  if (policy_.needs().shadows)
    us += charge(heads, costs_.head_us(rows * static_cast<double>(trace.exits.size())) +
                            rows * static_cast<double>(trace.exits.size()) * costs_.probe_us());
  return us;
}

void Replay::settle(Runner& r) {
  const RoundEnd end = r.walk.settle(policy_.needs().shadows);
  r.trajectory.tokens = end.tokens;
  r.trajectory.drafted = end.drafted;
  r.trajectory.accepted = end.accepted;
  ++r.round;
  result.tokens += end.tokens;
  result.drafted += end.drafted;
  result.accepted += end.accepted;
  result.rounds += end.passes > 0 ? 1 : 0;
  result.exits[end.exit] += 1;
  result.lengths[end.passes] += 1;
  result.company.verified[{end.exit, std::max(end.passes, 1)}] += 1;
  if (options_.sink) options_.sink(r.trajectory);
}

double Replay::step(std::span<Runner> runners) {
  batch_rows_ = static_cast<std::int32_t>(runners.size());
  for (Runner& r : runners) begin(r);
  double us = 0;
  while (std::ranges::any_of(runners, [](const Runner& r) { return r.walk.open; })) us += draft_pass(runners);
  us += verify(runners);
  for (Runner& r : runners) settle(r);
  result.us += us;
  result.steps += 1;
  result.company.us += us;
  result.company.steps += 1;
  return us;
}

}  // namespace

ReplayResult replay(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                    const ExitPolicy& policy, const CostTable& costs, const ReplayOptions& options) {
  LEADLINE_CHECK(!answers.empty() && options.batch > 0, "answers to replay");
  Replay run(policy, costs, options);
  const auto slots = static_cast<std::size_t>(options.batch);
  std::size_t next = 0;
  const std::size_t wanted = slots == 1 ? answers.size() : std::max(answers.size(), 2 * slots);
  const auto fresh = [&](std::size_t ahead) {
    const AnswerTrace& answer = *answers[next % answers.size()];
    Runner r;
    r.walk = RoundWalk::enter(trace, answer,
                              1 + static_cast<std::int32_t>(ahead % ((answer.tokens.size() + 1) / 2)));
    r.id = (options.seed << 24U) + next++;  // one replay's sequences are not another's
    return r;
  };
  std::vector<Runner> runners;
  // Batches start at different places of their answers, as those of a server do.
  while (runners.size() < slots) runners.push_back(fresh(slots > 1 ? (runners.size() + 1) * 7 : 0));
  while (!runners.empty()) {
    run.step(runners);
    for (Runner& r : runners)
      if (r.walk.left() <= 0) r = next < wanted ? fresh(0) : Runner{};
    if (std::ranges::any_of(runners, [](const Runner& r) { return r.walk.answer == nullptr; })) break;
  }
  return run.result;
}

ReplayResult replay_together(const DecodeTrace& trace, std::span<const ReplayStart> starts,
                             const ExitPolicy& policy, const CostTable& costs, std::int32_t max_draft) {
  LEADLINE_CHECK(!starts.empty(), "sequences to replay");
  const ReplayOptions options{.max_draft = max_draft, .sink = {}};
  Replay run(policy, costs, options);
  std::vector<Runner> runners;
  for (const ReplayStart& start : starts) {
    Runner& r = runners.emplace_back();
    r.walk = RoundWalk::enter(trace, *start.answer, start.at, start.end);
    r.id = runners.size();
  }
  while (std::ranges::all_of(runners, [](const Runner& r) { return r.walk.left() > 0; })) run.step(runners);
  return run.result;
}

namespace {

// Time of one round of `passes` passes to `exit`, alone.
double round_us(const CostTable& costs, std::int32_t layers, std::int32_t exit, std::int32_t passes,
                double context) {
  const double k = passes;
  return (k + 1) * costs.pass_us() + k * exit * costs.layer_us(1, context) +
         (k - 1) * (costs.head_us(1) + costs.probe_us()) + (layers - exit) * costs.layer_us(k, context) +
         costs.head_us(k) + k * costs.probe_us();
}

double best_answer_us(const DecodeTrace& trace, const AnswerTrace& answer, const CostTable& costs,
                      std::int32_t max_draft) {
  const auto n = static_cast<std::int32_t>(answer.tokens.size());
  std::vector<double> best(static_cast<std::size_t>(n) + 1, 0.0);  // from position i to the end
  for (std::int32_t i = n - 1; i >= 1; --i) {                      // the prompt's own step gave the first
    const double context = answer.prompt_tokens + i - 1;
    double least = costs.pass_us() + trace.layers * costs.layer_us(1, context) + costs.head_us(1) +
                   costs.probe_us() + best[static_cast<std::size_t>(i + 1)];
    for (std::size_t e = 0; e < trace.exits.size(); ++e) {
      // Knowing the matches, no oracle drafts past the first miss.
      for (std::int32_t drafts = 1; drafts <= std::min(max_draft, n - 1 - i); ++drafts) {
        if (answer.exits[e].matches[static_cast<std::size_t>(i + drafts - 1)] == 0) break;
        least = std::min(least, round_us(costs, trace.layers, trace.exits[e], drafts + 1, context) +
                                    best[static_cast<std::size_t>(i + drafts + 1)]);
      }
    }
    best[static_cast<std::size_t>(i)] = least;
  }
  return best[1];
}

}  // namespace

ReplayResult oracle(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                    const CostTable& costs, std::int32_t max_draft) {
  ReplayResult result;
  for (const AnswerTrace* answer : answers) {
    result.us += best_answer_us(trace, *answer, costs, std::min(max_draft, trace.max_draft));
    result.tokens += static_cast<double>(answer->tokens.size() - 1);
  }
  return result;
}

DecodeTrace deepened(DecodeTrace trace, std::int32_t factor) {
  trace.layers *= factor;
  for (std::int32_t& exit : trace.exits) exit *= factor;
  return trace;
}

}  // namespace leadline::policy
