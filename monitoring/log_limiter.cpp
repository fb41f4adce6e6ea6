#include "monitoring/log_limiter.h"

#include <utility>

namespace leadline::monitoring {

std::optional<std::uint64_t> LogLimiter::admit(std::string_view event, Clock::time_point now) {
  auto at = events_.find(event);
  if (at == events_.end()) {
    const std::string name = events_.size() < kMaxEvents ? std::string(event) : std::string("(other)");
    at = events_.try_emplace(name, Event{now}).first;
  }
  Event& state = at->second;
  if (now - state.window_start >= kWindow) {
    state.window_start = now;
    state.lines = 0;
  }
  if (state.lines >= kLinesPerWindow) {
    ++state.left_out;
    return std::nullopt;
  }
  ++state.lines;
  return std::exchange(state.left_out, 0);
}

}  // namespace leadline::monitoring
