#pragma once
// SseReader: bytes of a text/event-stream -> the data of its events. Pure and incremental; fuzzed. Not JSON.
// Thread: one at a time. Invariants: an event longer than kMaxEvent makes the reader fail, and it stays
// failed.

#include <string>
#include <string_view>
#include <vector>

namespace leadline::deploy {

class SseReader {
 public:
  static constexpr std::size_t kMaxEvent = 4 << 20;
  // The events that `bytes` completes, in order; comments, ids and event names are dropped. Lines end in \n
  // or \r\n.
  std::vector<std::string> feed(std::string_view bytes);
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  std::string line_, data_;
  bool has_data_ = false, failed_ = false;
};

}  // namespace leadline::deploy
