#pragma once
// Activations as sums of two bf16 values: the rounding and the rounding of the rest, 16 bits of mantissa
// (Henry, Tang and Heinecke 2019, leveraging the bfloat16 artificial intelligence datatype for
// higher-precision computations). Not the products. Included by the kernel translation units whose products
// take pairs of bf16; unnamed namespace on purpose (vector_scalar.h).

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

// `count` values as rounding and rest; the rest of an infinity is NaN, which stays visible.
template <class V>
static inline void split_values(const float* x, int64_t count, uint16_t* high, uint16_t* low) {
  for (int64_t i = 0; i < count; i += 16) {
    const int lanes = count - i < 16 ? int(count - i) : 16;
    const typename V::F value = V::load_n(x + i, lanes);
    V::store_bf16(high + i, value);
    V::store_bf16(low + i, V::sub(value, V::load_bf16(high + i)));
  }
}

template <class V>
void split_group(const float* x, int64_t row_stride, int rows, int64_t k, int slices, void* packed) {
  const int64_t slice = k / slices;
  auto* out = static_cast<uint16_t*>(packed);
  for (int s = 0; s < slices; ++s) {
    for (int64_t begin = 0; begin < slice; begin += kBf16Step, out += int64_t{2} * rows * kBf16Step) {
      const int64_t left = slice - begin, count = left < kBf16Step ? left : kBf16Step;
      for (int r = 0; r < rows; ++r) {
        uint16_t *high = out + r * kBf16Step, *low = high + rows * kBf16Step;
        if (count <= 16)
          for (int i = 16; i < kBf16Step; ++i) high[i] = low[i] = 0;
        split_values<V>(x + r * row_stride + s * slice + begin, count, high, low);
      }
    }
  }
}

}  // namespace
}  // namespace leadline::worker::cpu
