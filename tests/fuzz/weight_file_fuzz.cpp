// The safetensors header: whatever the bytes are, entries that come out lie inside the file and in order.
#include <cstddef>
#include <cstdint>
#include <span>

#include "monitoring/check.h"
#include "worker/model/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto entries =
      leadline::worker::read_safetensors_header(std::as_bytes(std::span(data, size)), "fuzz");
  if (!entries) {
    LEADLINE_CHECK(!entries.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  std::int64_t at = 8;
  for (const auto& entry : *entries) {
    LEADLINE_CHECK(entry.begin >= at && entry.begin <= entry.end, "entries are in order");
    LEADLINE_CHECK(entry.end <= static_cast<std::int64_t>(size), "entries lie inside the file");
    at = entry.end;
  }
  return 0;
}
