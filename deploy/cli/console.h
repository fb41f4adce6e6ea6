#pragma once
// What the command says to people: lines on standard error, and one line that is rewritten in place on a
// terminal. Not logs (monitoring/log): no fields, no levels. Thread: main.

#include <cstdint>
#include <string>
#include <string_view>

namespace leadline::deploy {

void say(std::string_view line);  // "leadline: …" on standard error, on a line of its own
std::string format_number(double value, int decimals);
std::string format_bytes(std::uint64_t bytes);  // "12.3 MB" (10^6)

// A line that changes: on a terminal in place, elsewhere only when `percent` has grown by ten.
class ProgressLine {
 public:
  void show(std::string_view text, int percent);
  void finish();  // leaves the last state standing

 private:
  int shown_percent_ = -10;
  bool open_ = false;
};

}  // namespace leadline::deploy
