#pragma once
// One group of weights as int4 codes and a scale (cpu_kernels.h), over a per-ISA vector type V. Not the
// layout of codes (packed_weights.cpp). Included by the kernel translation units; unnamed namespace on
// purpose (vector_scalar.h). Invariants: the same bits for every V; a zero weight stays zero; a group with an
// infinity or a NaN has a NaN scale, so that it stays visible.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kScalesTried = 9;                               // for each sign
constexpr float kSmallestScale = 0.8f, kScaleStep = 0.0375f;  // of the one that puts the largest on the end
constexpr int kGroupLanes = kGroup / 16;

static inline float int4_level(int code) {
  return float(kInt4Codebook[code]) - 128;
}
static inline float int4_middle(int code) {  // between a code and the next
  return (int4_level(code) + int4_level(code + 1)) / 2;
}

// The squared error of a group under a scale, in units of the scale.
template <class V>
float int4_error(const typename V::F (&x)[kGroupLanes], float inverse) {
  typename V::F scaled[kGroupLanes], level[kGroupLanes];
  for (int i = 0; i < kGroupLanes; ++i) {
    scaled[i] = V::mul(x[i], V::set1(inverse));
    level[i] = V::set1(int4_level(0));
  }
  for (int code = 0; code < 15; ++code) {
    const auto middle = V::set1(int4_middle(code)), step = V::set1(int4_level(code + 1) - int4_level(code));
    for (int i = 0; i < kGroupLanes; ++i) level[i] = V::add(level[i], V::zero_below(scaled[i], middle, step));
  }
  auto error = V::zero();
  for (int i = 0; i < kGroupLanes; ++i) {
    const auto off = V::sub(level[i], scaled[i]);
    error = V::fma(off, off, error);
  }
  return V::sum(error);
}

template <class V>
void int4_codes(const typename V::F (&x)[kGroupLanes], float inverse, uint8_t* codes) {
  for (int i = 0; i < kGroupLanes; ++i) {
    const auto scaled = V::mul(x[i], V::set1(inverse));
    auto code = V::set1(12582912.0f);  // 1.5 * 2^23: the count stands in the low bits
    for (int c = 0; c < 15; ++c)
      code = V::add(code, V::zero_below(scaled, V::set1(int4_middle(c)), V::set1(1.0f)));
    V::store_low_bytes(codes + 16 * i, code);
  }
}

// A bf16 near `value`: rounded up in the last place.
static inline uint16_t near_bf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x8000u) >> 16);
}
static inline float from_bf16(uint16_t half) {
  const uint32_t bits = uint32_t(half) << 16;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

template <class V>
uint16_t quantize_int4(const float* weights, int count, uint8_t* codes) {
  typename V::F x[kGroupLanes];
  auto largest = V::zero(), poison = V::zero();
  for (int i = 0; i < kGroupLanes; ++i) {
    const int left = count - 16 * i, lanes = left < 0 ? 0 : left < 16 ? left : 16;
    x[i] = lanes > 0 ? V::load_n(weights + 16 * i, lanes) : V::zero();
    largest = V::max(largest, V::max(x[i], V::sub(V::zero(), x[i])));
    poison = V::fma(x[i], V::zero(), poison);
  }
  const float top = V::max_of(largest);
  const bool finite = V::sum(poison) == 0;
  // Below 1e-30 the inverse of a scale could be infinite: such weights are zero.
  if (!finite || top < 1e-30f) {
    for (int i = 0; i < kGroup; ++i) codes[i] = 8;
    return finite ? 0 : 0x7fc0;
  }
  uint16_t best = 0;
  float least = __builtin_inff();
  for (int i = 0; i < 2 * kScalesTried; ++i) {
    const float end = i < kScalesTried ? top / 127 : top / -127;
    const uint16_t scale = near_bf16(end * (kSmallestScale + kScaleStep * float(i % kScalesTried)));
    const float used = from_bf16(scale), error = int4_error<V>(x, 1 / used) * used * used;
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  int4_codes<V>(x, 1 / from_bf16(best), codes);
  return best;
}

}  // namespace
}  // namespace leadline::worker::cpu
