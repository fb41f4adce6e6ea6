#include "policy/exit_policy.h"

#include <algorithm>

namespace leadline::policy {

bool is_legal(const DecisionPoint& point, const Action& action) {
  const bool leaves = action.kind == ActionKind::draft || action.kind == ActionKind::climb;
  if (!leaves && (action.exit != 0 || action.max_draft != 0)) return false;
  const bool candidate = std::ranges::find(point.exits, action.exit) != point.exits.end();
  switch (point.kind) {
    case DecisionKind::round_start:
      if (action.kind == ActionKind::plain) return true;
      return leaves && candidate && action.max_draft >= 1 &&
             action.max_draft <= std::min(point.max_draft, kMaxDraft);
    case DecisionKind::at_layer:
      if (action.kind == ActionKind::plain) return true;
      if (!leaves || action.max_draft != 0 || !candidate) return false;
      return action.kind == ActionKind::draft ? action.exit == point.exit : action.exit > point.exit;
    case DecisionKind::after_draft:
      return action.kind == ActionKind::go_on || action.kind == ActionKind::stop ||
             action.kind == ActionKind::keep_and_stop;
  }
  return false;
}

Action safe_action(DecisionKind kind) {
  return {kind == DecisionKind::after_draft ? ActionKind::stop : ActionKind::plain};
}

ActionDistribution ActionDistribution::certain(Action action) {
  ActionDistribution d;
  d.add(action, 1.0F);
  return d;
}

void ActionDistribution::add(Action action, float probability) {
  if (!(probability > 0)) return;
  for (std::size_t i = 0; i < count_; ++i) {
    if (entries_[i].action == action) {
      entries_[i].probability += probability;
      return;
    }
  }
  if (count_ < kCapacity) entries_[count_++] = {action, probability};
}

float ActionDistribution::probability(const Action& action) const {
  for (const Entry& entry : entries())
    if (entry.action == action) return entry.probability;
  return 0;
}

Action ActionDistribution::mode() const {
  if (count_ == 0) return {};
  return std::ranges::max_element(entries(), {}, &Entry::probability)->action;  // the first of equals
}

Action ActionDistribution::draw(double u) const {
  double below = 0;
  for (const Entry& entry : entries()) {
    below += entry.probability;
    if (u < below) return entry.action;
  }
  return mode();  // u beyond the sum by rounding
}

}  // namespace leadline::policy
