#include "kvstore/codec/group_quantizer.h"

#include <algorithm>
#include <cmath>

#include "kvstore/codec/element_values.h"

namespace leadline::kvstore {
namespace {

constexpr int kSteps = 2;  // scales tried on each side of the estimate
constexpr std::uint32_t kInfinityBf16 = 0x7F80;

struct Symmetric {
  static constexpr int kTop = 127, kLow = -127;
  static float value(float, float scale, int code) { return static_cast<float>(code) * scale; }
};
struct Asymmetric {
  static constexpr int kTop = 15, kLow = 0;
  static float value(float zero, float scale, int code) { return zero + static_cast<float>(code) * scale; }
};

template <typename Kind>
int code_of(float x, float zero, float scale) {
  if (scale == 0) return 0;
  const float q =
      std::clamp((x - zero) / scale, static_cast<float>(Kind::kLow), static_cast<float>(Kind::kTop));
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to nearest even: |q| is far below 2^22
  return static_cast<int>((q + kRound) - kRound);
}

template <typename Kind, Element E>
bool reproduces(const float* values, std::size_t n, std::size_t stride, float zero, float scale) {
  for (std::size_t i = 0; i < n; ++i) {
    const float x = values[i * stride];
    const float again = Kind::value(zero, scale, code_of<Kind>(x, zero, scale));
    if (element_bits<E>(again) != element_bits<E>(x)) return false;
  }
  return true;
}

template <typename Kind, Element E>
bool quantize(const float* values, std::size_t n, std::size_t stride, std::uint8_t* codes, GroupScale& out) {
  float low = values[0], high = values[0];
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) {
    const float x = values[i * stride];
    finite = finite && std::isfinite(x);
    low = std::min(low, x);
    high = std::max(high, x);
  }
  constexpr bool kSymmetric = Kind::kLow < 0;
  const float zero = kSymmetric ? 0.0F : low;
  const float range = kSymmetric ? std::max(high, -low) : high - low;
  const std::uint32_t estimate = bf16_bits(range / static_cast<float>(Kind::kTop));
  if (!finite || !std::isfinite(range) || estimate >= kInfinityBf16 - kSteps) return false;
  std::uint32_t chosen = estimate;
  for (int step = 0; step <= 2 * kSteps; ++step) {  // 0, +1, -1, +2, -2
    const int offset = step % 2 ? (step + 1) / 2 : -step / 2;
    const std::int64_t bits = std::int64_t{estimate} + offset;
    if (bits < 0) continue;
    if (!reproduces<Kind, E>(values, n, stride, zero, bf16_value(static_cast<std::uint32_t>(bits)))) continue;
    chosen = static_cast<std::uint32_t>(bits);
    break;
  }
  out.scale = static_cast<std::uint16_t>(chosen);
  out.zero = kSymmetric ? 0 : element_bits<E>(zero);
  const float scale = bf16_value(chosen);
  for (std::size_t i = 0; i < n; ++i)
    codes[i * stride] = static_cast<std::uint8_t>(code_of<Kind>(values[i * stride], zero, scale));
  return true;
}

template <typename Kind, Element E>
void dequantize(const GroupScale& scale, std::size_t n, std::size_t stride, const std::uint8_t* codes,
                std::uint32_t* bits) {
  const float s = bf16_value(scale.scale), zero = element_value<E>(scale.zero);
  for (std::size_t i = 0; i < n; ++i) {
    const int code = Kind::kLow < 0 ? static_cast<std::int8_t>(codes[i * stride]) : codes[i * stride];
    bits[i * stride] = element_bits<E>(Kind::value(zero, s, code));
  }
}

template <typename Kind>
bool quantize_as(Element e, const float* values, std::size_t n, std::size_t stride, std::uint8_t* codes,
                 GroupScale& scale) {
  switch (e) {
    case Element::f32:
      return quantize<Kind, Element::f32>(values, n, stride, codes, scale);
    case Element::bf16:
      return quantize<Kind, Element::bf16>(values, n, stride, codes, scale);
    case Element::f16:
      return quantize<Kind, Element::f16>(values, n, stride, codes, scale);
  }
  return false;
}
template <typename Kind>
void dequantize_as(Element e, const GroupScale& scale, std::size_t n, std::size_t stride,
                   const std::uint8_t* codes, std::uint32_t* bits) {
  switch (e) {
    case Element::f32:
      return dequantize<Kind, Element::f32>(scale, n, stride, codes, bits);
    case Element::bf16:
      return dequantize<Kind, Element::bf16>(scale, n, stride, codes, bits);
    case Element::f16:
      return dequantize<Kind, Element::f16>(scale, n, stride, codes, bits);
  }
}

}  // namespace

bool quantize_symmetric(Element e, const float* values, std::size_t n, std::size_t stride,
                        std::uint8_t* codes, GroupScale& scale) {
  return quantize_as<Symmetric>(e, values, n, stride, codes, scale);
}
bool quantize_asymmetric(Element e, const float* values, std::size_t n, std::size_t stride,
                         std::uint8_t* codes, GroupScale& scale) {
  return quantize_as<Asymmetric>(e, values, n, stride, codes, scale);
}
void dequantize_symmetric(Element e, const GroupScale& scale, std::size_t n, std::size_t stride,
                          const std::uint8_t* codes, std::uint32_t* bits) {
  dequantize_as<Symmetric>(e, scale, n, stride, codes, bits);
}
void dequantize_asymmetric(Element e, const GroupScale& scale, std::size_t n, std::size_t stride,
                           const std::uint8_t* codes, std::uint32_t* bits) {
  dequantize_as<Asymmetric>(e, scale, n, stride, codes, bits);
}

}  // namespace leadline::kvstore
