#include "policy/trainer/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace leadline::policy {

void fill_legal(const LearnedModel& model, const DecisionPoint& point, std::span<std::uint8_t> legal) {
  for (std::size_t o = 0; o < legal.size(); ++o)
    legal[o] = is_legal(point, output_action(model, o, point)) ? 1 : 0;
}

namespace {

bool usable(const LearnedModel& model, const Trajectory& round, DatasetCounts& counts) {
  for (const LoggedDecision& d : round.decisions) {
    if (!(d.propensity > 0) || d.propensity > 1 || !std::isfinite(d.cost_us)) {
      ++counts.without_propensity;
      return false;
    }
    if (benefit_output_of(model, d.action) < 0) {
      ++counts.unknown_action;
      return false;
    }
  }
  return !round.decisions.empty();
}

}  // namespace

DecisionPoint point_of(const LoggedDecision& decision, std::int32_t layers,
                       std::span<const std::int32_t> exits) {
  DecisionPoint point;
  point.kind = decision.kind;
  point.features = decision.features;
  point.layers = layers;
  point.exits = exits;
  point.exit = decision.exit;
  point.drafted = decision.drafted;
  point.max_draft = decision.max_draft;
  return point;
}

void fit_scaling(LearnedModel& model, std::span<const Trajectory> rounds) {
  std::array<double, kBenefitInputs> sum{}, square{};
  double n = 0;
  for (const Trajectory& round : rounds) {
    for (const LoggedDecision& d : round.decisions) {
      n += 1;
      for (std::size_t f = 0; f < kFeatureCount; ++f) {
        const double v = d.features.values()[f];
        sum[f] += v;
        square[f] += v * v;
      }
    }
  }
  model.mean.assign(kBenefitInputs, 0.0F);
  model.scale.assign(kBenefitInputs, 1.0F);
  for (std::size_t f = 0; f < kFeatureCount && n > 0; ++f) {
    const double mean = sum[f] / n, variance = std::max(0.0, square[f] / n - mean * mean);
    model.mean[f] = static_cast<float>(mean);
    model.scale[f] = static_cast<float>(variance > 1e-8 ? 1 / std::sqrt(variance) : 0.0);
  }
}

Transitions make_transitions(const LearnedModel& model, std::span<const Trajectory> rounds,
                             const Lambda& lambda, const DatasetOptions& options, DatasetCounts& counts) {
  Transitions data;
  data.inputs = kBenefitInputs;
  data.outputs = kClimb + model.exits.size();
  std::vector<float> in(data.inputs);
  std::vector<std::uint8_t> legal(data.outputs);
  for (const Trajectory& round : rounds) {
    if (!usable(model, round, counts)) continue;
    ++counts.rounds;
    const std::size_t n = round.decisions.size();
    std::vector<bool> followed(n, false);  // decisions that the current policy would make, too
    for (std::size_t i = 1; i < n && options.current != nullptr; ++i)
      followed[i] = options.current->decide(point_of(round.decisions[i], model.layers, model.exits)).mode() ==
                    round.decisions[i].action;
    for (std::size_t i = 0; i < n; ++i) {
      const DecisionPoint point = point_of(round.decisions[i], model.layers, model.exits);
      learned_inputs(model, point, in);
      fill_legal(model, point, legal);
      data.states.insert(data.states.end(), in.begin(), in.end());
      data.legal.insert(data.legal.end(), legal.begin(), legal.end());
      data.chosen.push_back(benefit_output_of(model, round.decisions[i].action));
      float sum = 0;
      std::size_t end = i;
      do sum += reward_of(round, end++, lambda);
      while (end < n && static_cast<int>(end - i) < options.steps && followed[end]);
      data.returns.push_back(sum);
      data.discounts.push_back(end < n ? 1.0F : 0.0F);
      if (end < n) {
        const DecisionPoint next = point_of(round.decisions[end], model.layers, model.exits);
        learned_inputs(model, next, in);
        fill_legal(model, next, legal);
      }
      data.next_states.insert(data.next_states.end(), in.begin(), in.end());
      data.next_legal.insert(data.next_legal.end(), legal.begin(), legal.end());
    }
  }
  counts.transitions = data.size();
  return data;
}

}  // namespace leadline::policy
