// Event streams from a server: the events do not depend on how the bytes are cut.
#include <cstdint>

#include "deploy/cli/sse_reader.h"
#include "monitoring/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  leadline::deploy::SseReader whole, cut;
  const std::vector<std::string> expected = whole.feed(bytes);
  std::vector<std::string> events;
  for (std::size_t at = 0; at < size;) {
    const std::size_t step = 1 + data[at] % 7;
    for (std::string& event : cut.feed(bytes.substr(at, step))) events.push_back(std::move(event));
    at += step;
  }
  LEADLINE_CHECK(events == expected, "cutting the bytes changes nothing");
  return 0;
}
