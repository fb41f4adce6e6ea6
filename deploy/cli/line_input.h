#pragma once
// LineInput: lines of standard input, or the news that Ctrl-C was pressed meanwhile. Not an editor: the
// terminal edits. Thread: main. Invariants: a line is at most kMaxLine bytes, longer ones are cut there.

#include <string>

namespace leadline::deploy {

class LineInput {
 public:
  static constexpr std::size_t kMaxLine = 1 << 20;
  enum class Event { line, end, interrupted };
  explicit LineInput(int interrupt_fd) : interrupt_fd_(interrupt_fd) {}
  Event read(std::string& line);  // waits

 private:
  bool take_line(std::string& line);
  const int interrupt_fd_;
  std::string pending_;
  bool ended_ = false;
};

}  // namespace leadline::deploy
