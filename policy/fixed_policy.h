#pragma once
// Fixed policies: off, static (exit, length), confidence threshold. The baselines and the fallback: they need
// no file and cannot fail. Not learned and without state. Thread: any.

#include <memory>

#include "policy/exit_policy.h"

namespace leadline::policy {

// Never drafts.
[[nodiscard]] std::unique_ptr<ExitPolicy> make_off_policy();

// LayerSkip (arXiv 2404.16710): always `max_draft` drafts from `exit`; a model without that exit: from the
// nearest shallower one, or the first. max_draft is cut to what is possible.
[[nodiscard]] std::unique_ptr<ExitPolicy> make_static_policy(std::int32_t exit, std::int32_t max_draft);

// Drafts from `exit` while the distribution that gives the draft has top-1 probability >= threshold, and
// drops the draft that falls below; Draft & Verify (arXiv 2309.08168) and Kangaroo (2404.18911) keep it
// (`keep_last`).
struct ThresholdSetting {
  std::int32_t exit = 0, max_draft = 12;
  float threshold = 0.6F;
  bool keep_last = false;
};
[[nodiscard]] std::unique_ptr<ExitPolicy> make_threshold_policy(const ThresholdSetting& setting);

// `exit` if it is a candidate, else the deepest shallower one, else the first; 0 without candidates.
[[nodiscard]] std::int32_t nearest_exit(const DecisionPoint& point, std::int32_t exit);

}  // namespace leadline::policy
