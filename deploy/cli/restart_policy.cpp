#include "deploy/cli/restart_policy.h"

#include <algorithm>

namespace leadline::deploy {

RestartDecision RestartPolicy::on_exit(std::chrono::milliseconds uptime, bool ever_up) {
  if (!ever_up) return {false, {}};
  if (uptime >= kHealthyAfter) next_delay_ = kFirstDelay;
  const RestartDecision decision{true, next_delay_};
  next_delay_ = std::min(next_delay_ * 2, kLongestDelay);
  ++restarts_;
  return decision;
}

}  // namespace leadline::deploy
