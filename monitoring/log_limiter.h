#pragma once
// LogLimiter: how many lines of one event may be written. Pure: the clock comes in. Not a level filter.
// Thread: one at a time (log.cpp holds a lock around it). Invariants: at most kLinesPerWindow lines of one
// event per window; what was left out is reported with that event's next line; at most kMaxEvents events are
// remembered, the rest share one.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace leadline::monitoring {

class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kLinesPerWindow = 20;
  static constexpr std::chrono::seconds kWindow{10};
  static constexpr std::size_t kMaxEvents = 512;

  // nullopt: leave this line out. Else the number of lines of this event left out since the last one written.
  std::optional<std::uint64_t> admit(std::string_view event, Clock::time_point now);

 private:
  struct Event {
    Clock::time_point window_start;
    int lines = 0;
    std::uint64_t left_out = 0;
  };
  std::map<std::string, Event, std::less<>> events_;
};

}  // namespace leadline::monitoring
