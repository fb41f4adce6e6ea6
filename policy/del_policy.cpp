#include "policy/del_policy.h"

#include <algorithm>
#include <cmath>

namespace leadline::policy {
namespace {

constexpr int kLengths = 17;  // g in 0..17

class DelPolicy final : public ExitPolicy {
 public:
  ActionDistribution decide(const DecisionPoint& point) const override {
    switch (point.kind) {
      case DecisionKind::round_start:
        return ActionDistribution::certain(begin(point));
      case DecisionKind::at_layer:
        return ActionDistribution::certain(safe_action(point.kind));
      case DecisionKind::after_draft:
        break;
    }
    const bool sure = point.features[Feature::top1_probability] >= threshold(point);
    return ActionDistribution::certain({sure ? ActionKind::go_on : ActionKind::keep_and_stop});
  }
  PolicyNeeds needs() const override { return {.probe = true, .shadows = true}; }
  std::string_view name() const override { return "del"; }

 private:
  static Action begin(const DecisionPoint& point) {
    const auto longest = static_cast<std::int16_t>(std::min(point.max_draft, kMaxDraft));
    if (point.exits.empty() || longest < 1 || point.experience == nullptr) return {ActionKind::plain};
    Action best{ActionKind::draft, static_cast<std::int16_t>(point.exits.front()), 1};
    double most = 0;
    bool known = false;
    const std::size_t exits = std::min<std::size_t>(point.exits.size(), kMaxExits);
    for (std::size_t e = 0; e < exits; ++e) {
      const ExitRecord& record = point.experience->exits[e];
      const double seen = record.match + record.miss;
      if (!(seen > 1e-6)) continue;
      known = true;
      const double alpha = record.match / seen;
      double tokens = 1, power = 1;
      for (int g = 0; g <= std::min<int>(longest, kLengths); ++g) {
        const double per_layer = tokens / (point.layers + g * static_cast<double>(point.exits[e]));
        if (per_layer > most) {
          most = per_layer;
          // The chosen g does not cap the drafting: the threshold and 18 do (as in the code that was read).
          best = g == 0 ? Action{ActionKind::plain}
                        : Action{ActionKind::draft, static_cast<std::int16_t>(point.exits[e]), longest};
        }
        power *= alpha;
        tokens += power;
      }
    }
    return known ? best : Action{ActionKind::draft, static_cast<std::int16_t>(point.exits.front()), 1};
  }

  static float threshold(const DecisionPoint& point) {
    const auto found = std::ranges::find(point.exits, point.exit);
    const auto index = static_cast<std::size_t>(found - point.exits.begin());
    if (point.experience == nullptr || found == point.exits.end() || index >= kMaxExits) return 0;
    const ExitRecord& r = point.experience->exits[index];
    const float matched = r.match > 0 ? r.match_confidence / r.match : 0;
    const float missed = r.miss > 0 ? r.miss_confidence / r.miss : 0;
    return (matched + missed) / 2;
  }
};

}  // namespace

std::unique_ptr<ExitPolicy> make_del_policy() {
  return std::make_unique<DelPolicy>();
}

}  // namespace leadline::policy
