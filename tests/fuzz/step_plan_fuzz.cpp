// Any bytes are refused or give a plan that the encoder turns into the same bytes again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "worker/scheduler/step_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leadline::worker;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto plan = step_plan_from_bytes(bytes);
  if (!plan.has_value()) {
    if (plan.error().code != Errc::malformed_file || plan.error().message.empty()) std::abort();
    return 0;
  }
  const std::vector<std::byte> again = to_bytes(*plan);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  return 0;
}
