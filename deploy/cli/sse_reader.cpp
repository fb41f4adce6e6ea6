#include "deploy/cli/sse_reader.h"

#include <utility>

namespace leadline::deploy {

std::vector<std::string> SseReader::feed(std::string_view bytes) {
  std::vector<std::string> events;
  while (!bytes.empty() && !failed_) {
    const auto end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > kMaxEvent) failed_ = true;
    if (end == std::string_view::npos || failed_) break;
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    std::string_view line = line_;
    if (line.empty() && has_data_) {
      events.push_back(std::exchange(data_, {}));
      has_data_ = false;
    } else if (line.starts_with("data:")) {
      line.remove_prefix(line.starts_with("data: ") ? 6 : 5);
      if (std::exchange(has_data_, true)) data_ += '\n';
      data_ += line;
    }
    line_.clear();
  }
  return events;
}

}  // namespace leadline::deploy
