#include "deploy/cli/console.h"

#include <unistd.h>

#include <cstdio>

namespace leadline::deploy {
namespace {

bool line_is_open = false;  // a progress line stands on the terminal without its end

bool on_terminal() {
  static const bool answer = isatty(STDERR_FILENO) == 1;
  return answer;
}

}  // namespace

void say(std::string_view line) {
  if (line_is_open) std::fputs("\r\033[K", stderr);
  line_is_open = false;
  std::fprintf(stderr, "leadline: %.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stderr);
}

std::string format_number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1'000'000) return format_number(static_cast<double>(bytes) * 1e-3, 1) + " kB";
  if (bytes < 1'000'000'000) return format_number(static_cast<double>(bytes) * 1e-6, 1) + " MB";
  return format_number(static_cast<double>(bytes) * 1e-9, 2) + " GB";
}

void ProgressLine::show(std::string_view text, int percent) {
  if (on_terminal()) {
    std::fprintf(stderr, "\r\033[Kleadline: %.*s", static_cast<int>(text.size()), text.data());
    std::fflush(stderr);
    line_is_open = open_ = true;
  } else if (percent >= shown_percent_ + 10 || (percent == 100 && shown_percent_ < 100)) {
    say(text);
    shown_percent_ = percent;
  }
}

void ProgressLine::finish() {
  if (open_ && line_is_open) std::fputc('\n', stderr);
  line_is_open = open_ = false;
}

}  // namespace leadline::deploy
