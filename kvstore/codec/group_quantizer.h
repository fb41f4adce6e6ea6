#pragma once
// One group of numbers that share a scale: to codes and back. The arithmetic of int8 and int4 in one place.
// Not the grouping (int8.h, int4.h) and not bytes. Pure; any thread.
//
// symmetric (int8, 127 levels each side):   s = bf16(max|x| / 127), q = round(x / s), x' = e(q * s)
// asymmetric (int4, 16 levels, KIVI eq. 1): z = min x (exact),  s = bf16((max x - z) / 15),
//                                           q = round((x - z) / s), x' = e(z + q * s)
// with e() the rounding to the pages' element, s a bf16 number, round half to even.
// Bounds: |x - x'| <= s / 2 + ulp_e(x') / 2; asymmetric: at the top code s * (1/2 + 15/256) for the rounding
// of s. Held by tests. A group that was quantised before gives its old codes again: if some scale within a
// few steps of the estimate reproduces every element to the bit, that one is taken. So a sealed page
// (exactness X5) goes to a tier and back unchanged (the rare group for which no such scale is found is
// patched by block_codec).

#include <cstdint>
#include <span>

#include "kvstore/codec/unit_format.h"

namespace leadline::kvstore {

struct GroupScale {
  std::uint16_t scale = 0;  // bf16 bits; finite, >= 0
  std::uint32_t zero = 0;   // element bits; asymmetric only
};

// values: as floats that are exact elements, `stride` apart. codes: as many, `stride` apart, too.
// False: an element is not finite, or the range overflows: such a group has no codes.
bool quantize_symmetric(Element e, const float* values, std::size_t n, std::size_t stride,
                        std::uint8_t* codes, GroupScale& scale);
bool quantize_asymmetric(Element e, const float* values, std::size_t n, std::size_t stride,
                         std::uint8_t* codes, GroupScale& scale);
// What the codes mean, as element bits.
void dequantize_symmetric(Element e, const GroupScale& scale, std::size_t n, std::size_t stride,
                          const std::uint8_t* codes, std::uint32_t* bits);
void dequantize_asymmetric(Element e, const GroupScale& scale, std::size_t n, std::size_t stride,
                           const std::uint8_t* codes, std::uint32_t* bits);

}  // namespace leadline::kvstore
