#include "deploy/cli/line_input.h"

#include <poll.h>
#include <unistd.h>

namespace leadline::deploy {

bool LineInput::take_line(std::string& line) {
  const auto end = pending_.find('\n');
  if (end == std::string::npos && pending_.size() < kMaxLine && !(ended_ && !pending_.empty())) return false;
  line = pending_.substr(0, end);
  pending_.erase(0, end == std::string::npos ? end : end + 1);
  return true;
}

LineInput::Event LineInput::read(std::string& line) {
  for (;;) {
    if (take_line(line)) return Event::line;
    if (ended_) return Event::end;
    pollfd polled[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_fd_, POLLIN, 0}};
    (void)poll(polled, 2, -1);
    if (polled[1].revents != 0) return Event::interrupted;
    if (polled[0].revents == 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got > 0) pending_.append(buffer, static_cast<std::size_t>(got));
    if (got <= 0) ended_ = true;
  }
}

}  // namespace leadline::deploy
