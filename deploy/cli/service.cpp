#include "deploy/cli/service.h"

#include <csignal>

#include "deploy/cli/console.h"
#include "monitoring/process_metrics.h"

namespace leadline::deploy {

Service::Service(std::string name, ChildSpec spec, std::string up_mark)
    : name_(std::move(name)), up_mark_(std::move(up_mark)), spec_(std::move(spec)) {}

Result<void> Service::start(Clock::time_point now) {
  ChildSpec spec = spec_;
  spec.environment.emplace_back(monitoring::kRestartsVariable, std::to_string(policy_.restarts()));
  auto child = ChildProcess::spawn(spec);
  if (!child) return tl::unexpected(child.error());
  child_.emplace(std::move(*child));
  started_at_ = now;
  start_at_ = Clock::time_point::max();
  up_ = false;
  return {};
}

void Service::stop() {
  stopping_ = true;
  start_at_ = Clock::time_point::max();
  if (child_) child_->send_signal_to_leaves(SIGTERM);
}

void Service::kill() {
  stopping_ = true;
  start_at_ = Clock::time_point::max();
  if (child_) child_->kill_group();
}

void Service::read_output() {
  for (const std::string& line : child_->read_lines()) {
    if (line.find(up_mark_) == std::string::npos) {
      say(name_ + ": " + line);
    } else if (!up_) {
      up_ = true;
      if (ever_up_) say(name_ + " is up again");
      ever_up_ = true;
    }
  }
}

void Service::on_exit(int status, Clock::time_point now) {
  child_.reset();
  up_ = false;
  if (stopping_) return;
  const auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(now - started_at_);
  const RestartDecision decision = policy_.on_exit(uptime, ever_up_);
  if (!decision.restart) {
    gave_up_ = true;
    say(name_ + " could not start (" + describe_exit(status) + "); its message is above");
    return;
  }
  start_at_ = now + decision.delay;
  say(name_ + " ended (" + describe_exit(status) + "); starting it again in " +
      format_number(static_cast<double>(decision.delay.count()) * 1e-3, 1) + " s");
}

void Service::advance(Clock::time_point now) {
  if (child_) {
    const std::optional<int> status = child_->exit_status();
    read_output();  // also what it wrote before it ended
    if (status) on_exit(*status, now);
  }
  if (!child_ && now >= start_at_) {
    if (auto started = start(now); !started) {
      start_at_ = now + RestartPolicy::kLongestDelay;
      say(name_ + ": " + started.error().message);
    }
  }
}

}  // namespace leadline::deploy
