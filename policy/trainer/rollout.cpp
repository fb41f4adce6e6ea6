#include "policy/trainer/rollout.h"

#include <algorithm>
#include <optional>

#include "policy/decision_draw.h"
#include "policy/trainer/dataset.h"
#include "policy/trainer/round_walk.h"

namespace leadline::policy {
namespace {

// A round of one sequence with what it takes.
class Charged {
 public:
  explicit Charged(const BatchField& field) : field_(field) {}

  // Runs passes up to the next decision; nothing if the round has none any more. Adds to `us`.
  std::optional<DecisionPoint> advance(RoundWalk& w, double& us) const {
    while (w.open) {
      if (w.passes == 0 || w.depth == w.target) {
        w.start_pass();
        us += field_.pass_us(w.passes);
      }
      us += field_.layers_us(w.passes, w.depth, w.target, w.context());
      w.reach(w.target);
      if (w.asks()) {
        us += field_.head_us(w.passes, w.target);
        return w.probe_point();
      }
      w.open = false;
    }
    return std::nullopt;
  }

  [[nodiscard]] double verify(const RoundWalk& w) const {
    return field_.verify_us(w.depth, std::max(w.passes, 1), w.context()) + field_.step_us();
  }

 private:
  const BatchField& field_;
};

struct Outcome {
  double us = 0;
  RoundEnd end;
};

class Rollout {
 public:
  Rollout(const ExitPolicy& policy, const Charged& charged, std::int32_t max_draft)
      : policy_(policy), charged_(charged), max_draft_(max_draft) {}

  // The round at hand goes on with `first` and then as the policy says.
  Outcome finish(RoundWalk& walk, DecisionKind kind, const Action& first) const {
    Outcome out;
    if (kind == DecisionKind::round_start)
      walk.begin(first);
    else
      walk.decided(first);
    while (const auto point = charged_.advance(walk, out.us)) walk.decided(policy_.decide(*point).mode());
    out.us += charged_.verify(walk);
    out.end = walk.settle(policy_.needs().shadows);
    return out;
  }
  Outcome whole(RoundWalk& walk) const {
    const DecisionPoint point = walk.start_point(max_draft_);
    return finish(walk, point.kind, policy_.decide(point).mode());
  }

 private:
  const ExitPolicy& policy_;
  const Charged& charged_;
  const std::int32_t max_draft_;
};

// A decision that was passed, as it was before the action.
struct Passed {
  RoundWalk walk;
  DecisionPoint point;  // its experience is the walk's
  std::int32_t start = 0;
};

// What is left to do from every position: one round of the policy from there, then from where it ends.
std::vector<double> costs_to_go(const std::vector<SequenceExperience>& known, const RoundWalk& first,
                                const Rollout& rollout) {
  const std::size_t n = first.answer->tokens.size();
  std::vector<double> to_go(n + 1, 0.0);
  for (std::size_t i = n - 1; i >= 1; --i) {
    RoundWalk walk = first;
    walk.at = static_cast<std::int32_t>(i);
    walk.experience = known[i];
    const Outcome out = rollout.whole(walk);
    to_go[i] = out.us + to_go[static_cast<std::size_t>(walk.at)];
  }
  return to_go;
}

// Experience at the latest round's start at or before each position.
void note(std::vector<SequenceExperience>& known, std::int32_t from, const SequenceExperience& experience) {
  for (auto i = static_cast<std::size_t>(from); i < known.size(); ++i) known[i] = experience;
}

// One exploring way through the answer: the decisions passed, and what was known where.
std::vector<Passed> explore_answer(const RolloutSetting& setting, const Charged& charged, RoundWalk walk,
                                   std::vector<SequenceExperience>& known) {
  const RolloutOptions& options = setting.options;
  std::vector<Passed> passed;
  for (std::uint32_t round = 0; walk.left() > 0; ++round) {
    note(known, walk.at, walk.experience);
    std::uint32_t number = 0;
    const auto choose = [&](const DecisionPoint& point) {
      passed.push_back({walk, point, walk.at});
      return explore(point, setting.policy.decide(point), options.epsilon)
          .draw(decision_uniform(options.seed, round, number++));
    };
    double us = 0;
    walk.begin(choose(walk.start_point(options.max_draft)));
    while (const auto point = charged.advance(walk, us)) walk.decided(choose(*point));
    (void)walk.settle(setting.policy.needs().shadows);
  }
  return passed;
}

}  // namespace

// The return of an action: the tokens it wins less lambda * the time it takes to the round's end, lambda
// being the sequence's own tokens per microsecond under the policy. What those tokens are worth is known
// better than by their number: the recorded time that the policy still needs from either end of the round.
// That has no bias but the noise of the answer's rest; `foresight` mixes the two.
void add_rollouts(const RolloutSetting& setting, const AnswerTrace& answer, RolloutSet& set,
                  RolloutTotals& totals) {
  const Charged charged(setting.field);
  const Rollout rollout(setting.policy, charged, setting.options.max_draft);
  const double foresight = setting.options.foresight;
  const std::size_t n = answer.tokens.size();
  RoundWalk first = RoundWalk::enter(setting.trace, answer, 1);
  first.batch_rows = setting.field.batch();
  std::vector<SequenceExperience> known(n);
  std::vector<Passed> passed = explore_answer(setting, charged, first, known);
  const std::vector<double> to_go = costs_to_go(known, first, rollout);
  totals.tokens += static_cast<double>(n - 1);
  totals.us += to_go[1];
  const double lambda = static_cast<double>(n - 1) / to_go[1];
  std::vector<float> in(set.inputs);
  std::vector<std::uint8_t> legal(set.outputs);
  for (Passed& decision : passed) {
    decision.point.experience = &decision.walk.experience;
    learned_inputs(setting.model, decision.point, in);
    fill_legal(setting.model, decision.point, legal);
    const std::size_t row = set.returns.size();
    set.returns.resize(row + set.outputs, 0.0F);
    for (std::size_t o = 0; o < set.outputs; ++o) {
      if (legal[o] == 0) continue;
      RoundWalk tried = decision.walk;
      const Outcome out =
          rollout.finish(tried, decision.point.kind, output_action(setting.model, o, decision.point));
      const double ahead = lambda * (to_go[static_cast<std::size_t>(decision.start)] -
                                     to_go[static_cast<std::size_t>(tried.at)]);
      set.returns[row + o] =
          static_cast<float>((1 - foresight) * out.end.tokens + foresight * ahead - lambda * out.us);
    }
    const auto safe =
        static_cast<std::size_t>(benefit_output_of(setting.model, safe_action(decision.point.kind)));
    const float base = set.returns[row + safe];
    for (std::size_t o = 0; o < set.outputs; ++o) set.returns[row + o] -= legal[o] != 0 ? base : 0;
    set.states.insert(set.states.end(), in.begin(), in.end());
    set.legal.insert(set.legal.end(), legal.begin(), legal.end());
  }
}

}  // namespace leadline::policy
