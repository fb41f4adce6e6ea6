#include "policy/learned_policy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "monitoring/check.h"

namespace leadline::policy {

bool LearnedModel::valid() const {
  const bool lede = kind == LearnedKind::lede;
  if (!lede && kind != LearnedKind::benefit) return false;
  if (layers < 2 || layers > 4096 || exits.empty() || exits.size() > kMaxExits) return false;
  for (std::size_t i = 1; i < exits.size(); ++i)
    if (exits[i] <= exits[i - 1]) return false;
  if (exits.front() < 1 || exits.back() >= layers) return false;
  if (max_draft < 1 || max_draft > kMaxDraft || !net.valid()) return false;
  const std::size_t inputs = lede ? kLedeInputs : kBenefitInputs;
  const std::size_t outputs = lede ? kLedeOutputs : kClimb + exits.size();
  if (net.sizes.front() != inputs || net.sizes.back() != outputs) return false;
  const auto finite = [](float v) { return std::isfinite(v); };
  return mean.size() == inputs && scale.size() == inputs && std::ranges::all_of(mean, finite) &&
         std::ranges::all_of(scale, finite);
}

void learned_inputs(const LearnedModel& model, const DecisionPoint& point, std::span<float> in) {
  if (model.kind == LearnedKind::lede) {
    in[0] = point.features[Feature::top5_nll];
    in[1] = point.features[Feature::entropy];
    in[2] = point.features[Feature::trailing];
  } else {
    std::ranges::copy(point.features.values(), in.begin());
    for (std::size_t k = 0; k < 3; ++k)
      in[kFeatureCount + k] = static_cast<std::size_t>(point.kind) == k ? 1.0F : 0.0F;
  }
  for (std::size_t i = 0; i < in.size(); ++i)
    in[i] = std::clamp((in[i] - model.mean[i]) * model.scale[i], -8.0F, 8.0F);
}

int benefit_output_of(const LearnedModel& model, const Action& action) {
  switch (action.kind) {
    case ActionKind::plain:
      return kPlain;
    case ActionKind::draft:  // at_layer: leave here; a round_start's draft has no output
      return action.max_draft == 0 ? static_cast<int>(kGoOn) : -1;
    case ActionKind::go_on:
      return kGoOn;
    case ActionKind::stop:
      return kStop;
    case ActionKind::keep_and_stop:
      return kKeepAndStop;
    case ActionKind::climb:
      break;
  }
  const auto found = std::ranges::find(model.exits, action.exit);
  return found == model.exits.end()
             ? -1
             : static_cast<int>(kClimb + static_cast<std::size_t>(found - model.exits.begin()));
}

Action benefit_action(const LearnedModel& model, std::size_t output, DecisionKind kind,
                      std::int32_t max_draft) {
  const bool layer = kind == DecisionKind::at_layer, start = kind == DecisionKind::round_start;
  if (output == kPlain) return {ActionKind::plain};
  if (output == kGoOn) return {layer ? ActionKind::draft : ActionKind::go_on};  // the exit is the point's
  if (output == kStop) return {ActionKind::stop};
  if (output == kKeepAndStop) return {ActionKind::keep_and_stop};
  return {ActionKind::climb, static_cast<std::int16_t>(model.exits[output - kClimb]),
          static_cast<std::int16_t>(start ? max_draft : 0)};
}

Action output_action(const LearnedModel& model, std::size_t output, const DecisionPoint& point) {
  const std::int32_t length = std::min({point.max_draft, model.max_draft, kMaxDraft});
  Action action = benefit_action(model, output, point.kind, length);
  if (action.kind == ActionKind::draft) action.exit = static_cast<std::int16_t>(point.exit);
  return action;
}

namespace {

class BenefitPolicy final : public ExitPolicy {
 public:
  explicit BenefitPolicy(LearnedModel model) : model_(std::move(model)) {}

  ActionDistribution decide(const DecisionPoint& point) const override {
    std::array<float, kBenefitInputs> in;
    std::array<float, Mlp::kMaxWidth> q;
    const std::size_t outputs = model_.net.sizes.back();
    learned_inputs(model_, point, in);
    model_.net.run(in, std::span(q).first(outputs));
    Action best = safe_action(point.kind);
    float most = -std::numeric_limits<float>::infinity();
    for (std::size_t o = 0; o < outputs; ++o) {
      if (!(q[o] > most)) continue;
      const Action action = output_action(model_, o, point);
      if (!is_legal(point, action)) continue;
      most = q[o];
      best = action;
    }
    return ActionDistribution::certain(best);
  }
  PolicyNeeds needs() const override { return {.probe = true}; }
  std::string_view name() const override { return "learned"; }

 private:
  const LearnedModel model_;
};

// Round: climb from the first candidate, exit where Q says so, at the last one in any case; draft while Q
// says exit, drop the draft at which it says continue (Fig. 1c); at most 12.
class LedePolicy final : public ExitPolicy {
 public:
  explicit LedePolicy(LearnedModel model) : model_(std::move(model)) {}

  ActionDistribution decide(const DecisionPoint& point) const override {
    const auto certain = [](Action a) { return ActionDistribution::certain(a); };
    const auto candidate_above = [&](std::int32_t layer) {
      for (const std::int32_t exit : model_.exits)
        if (exit > layer && std::ranges::find(point.exits, exit) != point.exits.end()) return exit;
      return std::int32_t{0};
    };
    const std::int32_t next = candidate_above(point.exit);
    switch (point.kind) {
      case DecisionKind::round_start: {
        const std::int32_t length = std::min({point.max_draft, model_.max_draft, kMaxDraft});
        if (length < 1 || next == 0) return certain({ActionKind::plain});
        return certain(
            {ActionKind::climb, static_cast<std::int16_t>(next), static_cast<std::int16_t>(length)});
      }
      case DecisionKind::at_layer: {
        const Action here{ActionKind::draft, static_cast<std::int16_t>(point.exit)};
        if (!is_legal(point, here)) return certain(safe_action(point.kind));
        return certain(exits_here(point) || next == 0
                           ? here
                           : Action{ActionKind::climb, static_cast<std::int16_t>(next)});
      }
      case DecisionKind::after_draft:
        break;
    }
    return certain({exits_here(point) ? ActionKind::go_on : ActionKind::stop});
  }
  PolicyNeeds needs() const override { return {.probe = true}; }
  std::string_view name() const override { return "lede"; }

 private:
  [[nodiscard]] bool exits_here(const DecisionPoint& point) const {
    std::array<float, kLedeInputs> in;
    std::array<float, kLedeOutputs> q;
    learned_inputs(model_, point, in);
    model_.net.run(in, q);
    return q[1] > q[0];
  }

  const LearnedModel model_;
};

}  // namespace

std::unique_ptr<ExitPolicy> make_learned_policy(LearnedModel model) {
  LEADLINE_CHECK(model.valid(), "a learned model is checked where it is loaded or trained");
  if (model.kind == LearnedKind::lede) return std::make_unique<LedePolicy>(std::move(model));
  return std::make_unique<BenefitPolicy>(std::move(model));
}

}  // namespace leadline::policy
