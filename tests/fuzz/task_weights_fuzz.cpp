// WindowKV's weights: whatever the bytes are, what comes out classifies, or an error says what is wrong.
#include <cstddef>
#include <cstdint>
#include <span>

#include "monitoring/check.h"
#include "worker/runtime/task_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> tokens = {"a", "b", ""};
  const auto made = leadline::worker::task_weights_of(std::as_bytes(std::span(data, size)), tokens);
  if (!made) {
    LEADLINE_CHECK(!made.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  (void)made->classify(std::vector<std::int32_t>{-1, 0, 2, 3, 1 << 30});
  return 0;
}
