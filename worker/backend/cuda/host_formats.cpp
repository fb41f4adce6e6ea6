#include "worker/backend/cuda/host_formats.h"

#include "worker/backend/cuda/device_code.h"

namespace leadline::worker::cuda {

float host_widen(const void* element, std::int32_t format) {
  return format == kFp8 ? from_fp8(*static_cast<const std::uint8_t*>(element)) : widen(element, 0, format);
}

void host_narrow(float x, std::int32_t format, void* element) {
  if (format == kF32) std::memcpy(element, &x, 4);
  const std::uint16_t half = format == kBf16 ? to_bf16(x) : to_f16(x);
  if (format != kF32) std::memcpy(element, &half, 2);
}

std::uint8_t host_fp8(float x) {
  return to_fp8(x);
}

}  // namespace leadline::worker::cuda
