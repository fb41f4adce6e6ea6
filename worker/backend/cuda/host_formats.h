#pragma once
// Rounding into and widening from the stored formats, on the host: the same definitions as the device's,
// because it is the device's code compiled for the host. Thread: any.

#include <cstdint>

namespace leadline::worker::cuda {

float host_widen(const void* element, std::int32_t format);     // f32, bf16, f16, fp8
void host_narrow(float x, std::int32_t format, void* element);  // f32, bf16, f16
std::uint8_t host_fp8(float x);

}  // namespace leadline::worker::cuda
