#pragma once
// Elements as bits and as floats: bf16, f16 and f32, widened exactly and narrowed to nearest even. Not
// vectorised by hand: the compiler does it where it pays. Pure; any thread.

#include <bit>
#include <cmath>
#include <cstdint>

#include "kvstore/codec/unit_format.h"

namespace leadline::kvstore {

inline float bf16_value(std::uint32_t bits) {
  return std::bit_cast<float>(bits << 16);
}
inline std::uint32_t bf16_bits(float value) {  // nearest even; NaN stays NaN
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return (bits >> 16) | 0x40U;
  return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
}
inline float f16_value(std::uint32_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 31U, mantissa = bits & 1023U;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  if (exponent == 0) {
    const float v = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -v : v;
  }
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}
inline std::uint32_t f16_bits(float value) {  // nearest even
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return sign | 0x7E00U;
  if (magnitude >= 0x477FF000U) return sign | 0x7C00U;  // rounds to infinity
  if (magnitude < 0x38800000U)                          // subnormal: the adder rounds
    return sign | (std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000U);
  return sign | ((magnitude + 0xFFFU + ((magnitude >> 13) & 1U) - 0x38000000U) >> 13);
}

template <Element E>
float element_value(std::uint32_t bits) {
  if constexpr (E == Element::f32) return std::bit_cast<float>(bits);
  if constexpr (E == Element::bf16) return bf16_value(bits);
  if constexpr (E == Element::f16) return f16_value(bits);
}
template <Element E>
std::uint32_t element_bits(float value) {
  if constexpr (E == Element::f32) return std::bit_cast<std::uint32_t>(value);
  if constexpr (E == Element::bf16) return bf16_bits(value);
  if constexpr (E == Element::f16) return f16_bits(value);
}
inline float element_value(Element e, std::uint32_t bits) {
  return e == Element::f32    ? element_value<Element::f32>(bits)
         : e == Element::bf16 ? element_value<Element::bf16>(bits)
                              : element_value<Element::f16>(bits);
}
inline std::uint32_t element_bits(Element e, float value) {
  return e == Element::f32    ? element_bits<Element::f32>(value)
         : e == Element::bf16 ? element_bits<Element::bf16>(value)
                              : element_bits<Element::f16>(value);
}

// One plane of a unit as bits, (slots, head_dim) row-major, and back.
inline void gather_plane(const UnitFormat& f, const UnitPlane& p, const std::byte* unit,
                         std::uint32_t* bits) {
  const std::byte* base = unit + p.offset;
  if (f.element == Element::f32) {
    for (std::uint32_t s = 0; s < f.slots; ++s)
      for (std::uint32_t d = 0; d < f.head_dim; ++d)
        std::memcpy(bits++, base + (std::size_t{s} * p.slot_stride + std::size_t{d} * p.dim_stride) * 4, 4);
    return;
  }
  for (std::uint32_t s = 0; s < f.slots; ++s)
    for (std::uint32_t d = 0; d < f.head_dim; ++d) {
      std::uint16_t half = 0;
      std::memcpy(&half, base + (std::size_t{s} * p.slot_stride + std::size_t{d} * p.dim_stride) * 2, 2);
      *bits++ = half;
    }
}
inline void scatter_plane(const UnitFormat& f, const UnitPlane& p, const std::uint32_t* bits,
                          std::byte* unit) {
  std::byte* base = unit + p.offset;
  const std::size_t size = element_bytes(f.element);
  for (std::uint32_t s = 0; s < f.slots; ++s)
    for (std::uint32_t d = 0; d < f.head_dim; ++d, ++bits) {
      std::byte* at = base + (std::size_t{s} * p.slot_stride + std::size_t{d} * p.dim_stride) * size;
      if (size == 4) {
        std::memcpy(at, bits, 4);
      } else {
        const auto half = static_cast<std::uint16_t>(*bits);
        std::memcpy(at, &half, 2);
      }
    }
}

}  // namespace leadline::kvstore
