#pragma once
// Service: one program that `up` keeps running: its process, whether it said that it is up, and when it
// starts again. Not the order of start and stop (supervisor). Thread: main. Invariants: at most one process
// at a time; none is started after stop or kill.

#include <chrono>
#include <optional>
#include <string>

#include "deploy/cli/child_process.h"
#include "deploy/cli/restart_policy.h"

namespace leadline::deploy {

class Service {
 public:
  using Clock = std::chrono::steady_clock;
  // `up_mark`: part of the line on standard output by which the program says that it is up.
  Service(std::string name, ChildSpec spec, std::string up_mark);

  Result<void> start(Clock::time_point now);
  void stop();  // SIGTERM, and no restart from now on
  void kill();  // SIGKILL to the group, and no restart
  // Reads output, notices an end, restarts when it is time. Prints what people should know.
  void advance(Clock::time_point now);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool is_running() const { return child_.has_value(); }
  [[nodiscard]] bool is_up() const { return up_; }
  [[nodiscard]] bool gave_up() const { return gave_up_; }  // it never came up: its own message says why
  [[nodiscard]] int output_fd() const { return child_ ? child_->output_fd() : -1; }
  [[nodiscard]] Clock::time_point next_start() const { return start_at_; }

 private:
  void read_output();
  void on_exit(int status, Clock::time_point now);

  const std::string name_, up_mark_;
  ChildSpec spec_;
  RestartPolicy policy_;
  std::optional<ChildProcess> child_;
  Clock::time_point started_at_{}, start_at_ = Clock::time_point::max();
  bool up_ = false, ever_up_ = false, stopping_ = false, gave_up_ = false;
};

}  // namespace leadline::deploy
