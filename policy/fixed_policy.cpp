#include "policy/fixed_policy.h"

#include <algorithm>

namespace leadline::policy {

std::int32_t nearest_exit(const DecisionPoint& point, std::int32_t exit) {
  if (point.exits.empty()) return 0;
  std::int32_t best = point.exits.front();
  for (const std::int32_t candidate : point.exits)
    if (candidate <= exit) best = candidate;
  return best;
}

namespace {

Action draft_from(const DecisionPoint& point, std::int32_t exit, std::int32_t max_draft) {
  const std::int32_t length = std::min({max_draft, point.max_draft, kMaxDraft});
  const std::int32_t from = nearest_exit(point, exit);
  if (length < 1 || from == 0) return {ActionKind::plain};
  return {ActionKind::draft, static_cast<std::int16_t>(from), static_cast<std::int16_t>(length)};
}

class OffPolicy final : public ExitPolicy {
 public:
  ActionDistribution decide(const DecisionPoint& point) const override {
    return ActionDistribution::certain(safe_action(point.kind));
  }
  PolicyNeeds needs() const override { return {}; }
  std::string_view name() const override { return "off"; }
};

class StaticPolicy final : public ExitPolicy {
 public:
  StaticPolicy(std::int32_t exit, std::int32_t max_draft) : exit_(exit), max_draft_(max_draft) {}
  ActionDistribution decide(const DecisionPoint& point) const override {
    switch (point.kind) {
      case DecisionKind::round_start:
        return ActionDistribution::certain(draft_from(point, exit_, max_draft_));
      case DecisionKind::at_layer:
        break;  // never climbs, so is not asked; leaving here is its nature
      case DecisionKind::after_draft:
        return ActionDistribution::certain({ActionKind::go_on});
    }
    return ActionDistribution::certain(
        is_legal(point, {ActionKind::draft, static_cast<std::int16_t>(point.exit)})
            ? Action{ActionKind::draft, static_cast<std::int16_t>(point.exit)}
            : safe_action(point.kind));
  }
  PolicyNeeds needs() const override { return {}; }
  std::string_view name() const override { return "static"; }

 private:
  const std::int32_t exit_, max_draft_;
};

class ThresholdPolicy final : public ExitPolicy {
 public:
  explicit ThresholdPolicy(const ThresholdSetting& setting) : setting_(setting) {}
  ActionDistribution decide(const DecisionPoint& point) const override {
    const bool sure = point.features[Feature::top1_probability] >= setting_.threshold;
    switch (point.kind) {
      case DecisionKind::round_start:
        return ActionDistribution::certain(draft_from(point, setting_.exit, setting_.max_draft));
      case DecisionKind::at_layer: {
        const Action here{ActionKind::draft, static_cast<std::int16_t>(point.exit)};
        return ActionDistribution::certain(sure && is_legal(point, here) ? here : safe_action(point.kind));
      }
      case DecisionKind::after_draft:
        break;
    }
    return ActionDistribution::certain({sure                 ? ActionKind::go_on
                                        : setting_.keep_last ? ActionKind::keep_and_stop
                                                             : ActionKind::stop});
  }
  PolicyNeeds needs() const override { return {.probe = true}; }
  std::string_view name() const override { return "threshold"; }

 private:
  const ThresholdSetting setting_;
};

}  // namespace

std::unique_ptr<ExitPolicy> make_off_policy() {
  return std::make_unique<OffPolicy>();
}

std::unique_ptr<ExitPolicy> make_static_policy(std::int32_t exit, std::int32_t max_draft) {
  return std::make_unique<StaticPolicy>(exit, max_draft);
}

std::unique_ptr<ExitPolicy> make_threshold_policy(const ThresholdSetting& setting) {
  return std::make_unique<ThresholdPolicy>(setting);
}

}  // namespace leadline::policy
