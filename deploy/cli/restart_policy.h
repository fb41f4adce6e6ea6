#pragma once
// RestartPolicy: when a process that ended is started again. Pure: times come in, a decision goes out. Not
// the restarting (supervisor). Thread: values. Invariants: delays double from kFirstDelay to kLongestDelay
// and begin anew after kHealthyAfter of running.

#include <chrono>

namespace leadline::deploy {

struct RestartDecision {
  bool restart = false;  // false: give up, the command ends
  std::chrono::milliseconds delay{0};
};

class RestartPolicy {
 public:
  static constexpr std::chrono::milliseconds kFirstDelay{500}, kLongestDelay{30'000}, kHealthyAfter{60'000};

  // A process ended after running for `uptime`. `ever_up`: it, or an earlier run of it, has said that it is
  // up. One that never was has a wrong flag or file: starting it again would only repeat the message.
  RestartDecision on_exit(std::chrono::milliseconds uptime, bool ever_up);
  [[nodiscard]] int restarts() const { return restarts_; }

 private:
  std::chrono::milliseconds next_delay_ = kFirstDelay;
  int restarts_ = 0;
};

}  // namespace leadline::deploy
