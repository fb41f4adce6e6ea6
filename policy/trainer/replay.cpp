#include "policy/trainer/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "monitoring/check.h"
#include "policy/decision_draw.h"

namespace leadline::policy {
namespace {

// One sequence on its way through rounds.
struct Runner {
  const AnswerTrace* answer = nullptr;
  std::int32_t at = 0;  // tokens committed
  SequenceExperience experience;
  std::uint64_t id = 0;
  std::uint32_t round = 0;
  // of the round at hand
  Trajectory trajectory;
  std::int32_t depth = 0;   // layers run by the last pass; 0: a plain step
  std::int32_t target = 0;  // layer that the pass at hand goes to next
  std::int32_t passes = 0, max_draft = 0;
  bool open = false;  // another pass follows
  bool climbing = false, last_pass = false;
  float chain = 1;

  [[nodiscard]] std::int32_t left() const { return static_cast<std::int32_t>(answer->tokens.size()) - at; }
  [[nodiscard]] double context() const { return answer->prompt_tokens + at; }
};

class Replay {
 public:
  Replay(const DecodeTrace& trace, const ExitPolicy& policy, const CostTable& costs,
         const ReplayOptions& options)
      : trace_(trace), policy_(policy), costs_(costs), options_(options) {}

  // One step of all `runners`; returns its time.
  double step(std::span<Runner> runners);
  ReplayResult result;

 private:
  [[nodiscard]] std::size_t index_of(std::int32_t exit) const;
  [[nodiscard]] const ProbeReading& reading(const Runner& r, std::int32_t exit) const;
  Action decide(Runner& r, DecisionKind kind);
  void begin(Runner& r);
  void after_pass(Runner& r);
  double draft_pass(std::span<Runner> runners);
  double verify(std::span<Runner> runners);
  void settle(Runner& r);
  double charge_layers(std::span<Runner* const> rows, std::int32_t first, std::int32_t last);
  double charge(std::span<Runner* const> rows, double us);

  const DecodeTrace& trace_;
  const ExitPolicy& policy_;
  const CostTable& costs_;
  const ReplayOptions& options_;
  std::int32_t batch_rows_ = 1;
};

std::size_t Replay::index_of(std::int32_t exit) const {
  const auto found = std::ranges::find(trace_.exits, exit);
  LEADLINE_CHECK(found != trace_.exits.end(), "an exit that was recorded");
  return static_cast<std::size_t>(found - trace_.exits.begin());
}

// After the latest pass: on the true prefix, or on the branch of the round's first wrong draft.
const ProbeReading& Replay::reading(const Runner& r, std::int32_t exit) const {
  const ExitTrace& seen = r.answer->exits[index_of(exit)];
  const std::int32_t position = r.at + r.passes - 1;
  for (std::int32_t i = r.at; i < position; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (seen.matches[at] != 0) continue;
    const auto first =
        static_cast<std::size_t>(seen.branch[at]) * static_cast<std::size_t>(trace_.max_draft - 1);
    return seen.branches[first + static_cast<std::size_t>(position - i - 1)];
  }
  return seen.readings[static_cast<std::size_t>(position)];
}

Action Replay::decide(Runner& r, DecisionKind kind) {
  DecisionPoint point;
  point.kind = kind;
  point.layers = trace_.layers;
  point.exits = trace_.exits;
  point.exit = kind == DecisionKind::round_start ? 0 : r.depth;
  point.drafted = std::max(0, r.passes - 1);
  point.max_draft = kind == DecisionKind::round_start
                        ? std::min({options_.max_draft, trace_.max_draft, r.left() - 1})
                        : r.max_draft - point.drafted;
  point.experience = &r.experience;
  set_setting(point.features, {static_cast<std::int32_t>(r.context()), batch_rows_, r.answer->temperature},
              r.experience);
  if (kind != DecisionKind::round_start) {
    point.features.set(Feature::depth, static_cast<float>(r.depth) / static_cast<float>(trace_.layers));
    point.features.set(Feature::drafted_so_far, static_cast<float>(point.drafted) / kRunScale);
    point.features.set(Feature::chain_probability, r.chain);
    if (policy_.needs().probe || options_.epsilon > 0) set_probe(point.features, reading(r, r.depth));
  }
  ActionDistribution wanted = policy_.decide(point);
  if (options_.epsilon > 0) wanted = explore(point, wanted, options_.epsilon);
  const auto number = static_cast<std::uint32_t>(r.trajectory.decisions.size());
  const Action action =
      options_.epsilon > 0 ? wanted.draw(decision_uniform(r.id, r.round, number)) : wanted.mode();
  LEADLINE_CHECK(is_legal(point, action), "policies choose legal actions");
  r.trajectory.decisions.push_back({kind, point.exit, point.drafted, point.max_draft, point.features, action,
                                    wanted.probability(action), 0});
  return action;
}

void Replay::begin(Runner& r) {
  r.trajectory = {};
  r.trajectory.sequence = r.id;
  r.trajectory.round = r.round;
  r.trajectory.batch_rows = batch_rows_;
  r.depth = r.passes = r.max_draft = r.target = 0;
  r.climbing = r.last_pass = false;
  r.chain = 1;
  const Action action = decide(r, DecisionKind::round_start);
  r.open = action.kind != ActionKind::plain;
  r.climbing = action.kind == ActionKind::climb;
  r.target = action.exit;
  r.max_draft = action.max_draft;
}

// The probe's answer after a pass that reached its exit.
void Replay::after_pass(Runner& r) {
  const std::int32_t drafted = r.passes - 1;
  if (r.last_pass || drafted >= r.max_draft) {
    r.open = false;
    return;
  }
  const Action action = decide(r, r.climbing ? DecisionKind::at_layer : DecisionKind::after_draft);
  const float top1 = reading(r, r.depth).top1_probability;
  switch (action.kind) {
    case ActionKind::climb:
      r.target = action.exit;
      return;
    case ActionKind::plain:
    case ActionKind::stop:
      r.open = false;
      return;
    case ActionKind::keep_and_stop:
      r.last_pass = true;
      break;
    case ActionKind::draft:
    case ActionKind::go_on:
      break;
  }
  r.climbing = false;
  r.chain *= top1;
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
  for (const Runner* r : rows) context += r->context() / static_cast<double>(rows.size());
  return charge(rows, (last - first) * costs_.layer_us(static_cast<double>(rows.size()), context));
}

// One pass of every round that is open; climbs go up in stages, each ended by its probe.
double Replay::draft_pass(std::span<Runner> runners) {
  double us = 0;
  std::vector<Runner*> going;
  for (Runner& r : runners) {
    if (!r.open) continue;
    going.push_back(&r);
    if (r.passes > 0) r.target = r.depth;
    r.depth = 0;
    ++r.passes;
  }
  std::int32_t layer = 0;
  while (!going.empty()) {
    std::int32_t next = trace_.layers;
    for (const Runner* r : going) next = std::min(next, r->target);
    if (layer == 0) us += charge(going, costs_.pass_us());
    us += charge_layers(going, layer, next);
    layer = next;
    std::vector<Runner*> arrived, above;
    for (Runner* r : going) (r->target == layer ? arrived : above).push_back(r);
    std::vector<Runner*> probed;
    for (Runner* r : arrived)
      if (!r->last_pass && r->passes - 1 < r->max_draft) probed.push_back(r);
    if (!probed.empty()) {
      const auto rows = static_cast<double>(probed.size());
      us += charge(probed, costs_.head_us(rows) + rows * costs_.probe_us());
    }
    for (Runner* r : arrived) {
      r->depth = layer;
      after_pass(*r);
      if (r->open && r->target > layer) above.push_back(r);
    }
    going = std::move(above);
  }
  return us;
}

double Replay::verify(std::span<Runner> runners) {
  double us = 0;
  std::vector<Runner*> heads;
  for (Runner& r : runners)
    for (std::int32_t row = 0; row < std::max(r.passes, 1); ++row) heads.push_back(&r);
  us += charge(heads, costs_.pass_us());
  std::vector<std::int32_t> joins{0};
  for (const Runner& r : runners) joins.push_back(r.depth);
  joins.push_back(trace_.layers);
  std::ranges::sort(joins);
  for (std::size_t j = 0; j + 1 < joins.size(); ++j) {
    std::vector<Runner*> rows;
    for (Runner* r : heads)
      if (r->depth <= joins[j]) rows.push_back(r);
    us += charge_layers(rows, joins[j], joins[j + 1]);
  }
  const auto rows = static_cast<double>(heads.size());
  us += charge(heads, costs_.head_us(rows) + rows * costs_.probe_us());
  if (policy_.needs().shadows)
    us += charge(heads, costs_.head_us(rows * static_cast<double>(trace_.exits.size())));
  return us;
}

void Replay::settle(Runner& r) {
  const std::int32_t drafted = std::max(0, r.passes - 1);
  std::int32_t accepted = 0;
  std::vector<ExitObservation> seen;
  if (r.passes > 0) {
    const std::size_t used = index_of(r.depth);
    while (accepted < drafted &&
           r.answer->exits[used].matches[static_cast<std::size_t>(r.at + accepted)] != 0)
      ++accepted;
  }
  const std::int32_t verified = std::min(accepted + 1, std::max(drafted, 1));
  for (std::size_t e = 0; e < trace_.exits.size(); ++e) {
    if (!policy_.needs().shadows && (drafted == 0 || trace_.exits[e] != r.depth)) continue;
    for (std::int32_t i = 0; i < verified; ++i) {
      const auto at = static_cast<std::size_t>(r.at + i);
      const ExitTrace& exit = r.answer->exits[e];
      seen.push_back(
          {static_cast<std::int32_t>(e), exit.matches[at] != 0, exit.readings[at].top1_probability});
    }
  }
  const std::int32_t tokens = accepted + 1;
  const auto at = static_cast<std::size_t>(r.at);
  r.experience =
      observe(r.experience, {drafted, accepted,
                             std::span(r.answer->target_top1).subspan(at, static_cast<std::size_t>(tokens)),
                             r.answer->target_margin[at + static_cast<std::size_t>(accepted)], seen});
  r.trajectory.tokens = tokens;
  r.trajectory.drafted = drafted;
  r.trajectory.accepted = accepted;
  r.at += tokens;
  ++r.round;
  result.tokens += tokens;
  result.drafted += drafted;
  result.accepted += accepted;
  result.rounds += r.passes > 0 ? 1 : 0;
  result.exits[r.depth] += 1;
  result.lengths[r.passes] += 1;
  if (options_.sink) options_.sink(r.trajectory);
}

double Replay::step(std::span<Runner> runners) {
  batch_rows_ = static_cast<std::int32_t>(runners.size());
  for (Runner& r : runners) begin(r);
  double us = 0;
  while (std::ranges::any_of(runners, &Runner::open)) us += draft_pass(runners);
  us += verify(runners);
  for (Runner& r : runners) settle(r);
  result.us += us;
  result.steps += 1;
  return us;
}

}  // namespace

ReplayResult replay(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                    const ExitPolicy& policy, const CostTable& costs, const ReplayOptions& options) {
  LEADLINE_CHECK(!answers.empty() && options.batch > 0, "answers to replay");
  Replay run(trace, policy, costs, options);
  const auto slots = static_cast<std::size_t>(options.batch);
  std::size_t next = 0;
  const std::size_t wanted = slots == 1 ? answers.size() : std::max(answers.size(), 2 * slots);
  const auto fresh = [&] {
    Runner r;
    r.answer = answers[next % answers.size()];
    r.id = (options.seed << 24U) + next++;  // one replay's sequences are not another's
    return r;
  };
  std::vector<Runner> runners;
  while (runners.size() < slots) {
    runners.push_back(fresh());
    // Batches start at different places of their answers, as those of a server do.
    if (slots > 1)
      runners.back().at =
          static_cast<std::int32_t>(runners.size() * 7 % (runners.back().answer->tokens.size() / 2));
  }
  while (!runners.empty()) {
    run.step(runners);
    for (Runner& r : runners)
      if (r.left() <= 0) r = next < wanted ? fresh() : Runner{};
    if (std::ranges::any_of(runners, [](const Runner& r) { return r.answer == nullptr; })) break;
  }
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
  for (std::int32_t i = n - 1; i >= 0; --i) {
    const double context = answer.prompt_tokens + i;
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
  return best[0];
}

}  // namespace

ReplayResult oracle(const DecodeTrace& trace, std::span<const AnswerTrace* const> answers,
                    const CostTable& costs, std::int32_t max_draft) {
  ReplayResult result;
  for (const AnswerTrace* answer : answers) {
    result.us += best_answer_us(trace, *answer, costs, std::min(max_draft, trace.max_draft));
    result.tokens += static_cast<double>(answer->tokens.size());
  }
  return result;
}

DecodeTrace deepened(DecodeTrace trace, std::int32_t factor) {
  trace.layers *= factor;
  for (std::int32_t& exit : trace.exits) exit *= factor;
  return trace;
}

}  // namespace leadline::policy
