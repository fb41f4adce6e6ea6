#pragma once
// Products with bf16 weights by VDPBF16PS: pairs of k at a time, activations in two parts
// (bf16_split_impl.h). Included by kernels_avx512bf16.cpp only; unnamed namespace on purpose
// (vector_scalar.h). Invariants:
//   1. One arithmetic for 1 row and 512: an output element is, per slice of K, one chain over the pairs of k
//   in order, from zero: a pair's products with the roundings, then with the rests. The instruction adds a
//   pair's two products one after the other, each in one rounding, subnormals as zeros. These bits are
//   neither those of f32 products nor those of tiles (CpuKernels::arithmetic).
//   2. Slices end at steps, as for tiles.

#include <immintrin.h>
#include <stdint.h>

#include "worker/backend/cpu/bf16_split_impl.h"
#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/linear_impl.h"
#include "worker/backend/cpu/vector_avx512.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kDotRows = 14;    // of one group: 28 registers of sums, two of weights, one of activations
constexpr int kStreamRows = 6;  // up to here weights come from memory, not from the cache

// The instruction itself: g++ 12 copies the accumulator around the intrinsic.
static inline __attribute__((always_inline)) __m512 dot2(__m512 sum, __m512i weights, __m512i x) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(x));
  return sum;
}

// sums[r] += a pair of k of the panel's two halves with row r's pair in `part`.
template <int kRows>
static inline __attribute__((always_inline)) void add_pair(__m512 (&sums)[kRows][2], const uint8_t* part,
                                                           __m512i left, __m512i right) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    int32_t pair = 0;
    __builtin_memcpy(&pair, part + r * kBf16StepBytes, 4);
    const __m512i x = _mm512_set1_epi32(pair);
    sums[r][0] = dot2(sums[r][0], left, x);
    sums[r][1] = dot2(sums[r][1], right, x);
  }
}

struct Bf16Dots {
  static constexpr int64_t kBlock = kBf16Block, kRowBytes = kBf16RowBytes, kTogether = 8;
  static int64_t steps(int64_t k, int slices) { return bf16_steps(k, slices); }

  template <int kRows>
  static void multiply(int64_t steps, const uint8_t* x, const uint8_t* w, float* acc) {
    __m512 sums[kRows][2];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < 2; ++v) sums[r][v] = _mm512_loadu_ps(acc + r * kPanel + v * 16);
    for (int64_t s = 0; s < steps; ++s, x += kRows * kBf16RowBytes, w += kBf16Block) {
      for (int pair = 0; pair < kBf16Step / 2; ++pair) {
        const uint8_t* at = w + pair * 64;  // of the left sixteen outputs
        if constexpr (kRows <= kStreamRows) {
          __builtin_prefetch(at + kPrefetchBytes);
          __builtin_prefetch(at + kPrefetchBytes + kBf16TileBytes);
        }
        const __m512i left = _mm512_loadu_si512(at), right = _mm512_loadu_si512(at + kBf16TileBytes);
        add_pair<kRows>(sums, x + pair * 4, left, right);
        add_pair<kRows>(sums, x + kRows * kBf16StepBytes + pair * 4, left, right);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < 2; ++v) _mm512_storeu_ps(acc + r * kPanel + v * 16, sums[r][v]);
  }

  template <int kRows = 1>
  static void rows(int count, int64_t steps, const uint8_t* x, const uint8_t* w, float* acc) {
    if constexpr (kRows < kDotRows) {
      if (count != kRows) return rows<kRows + 1>(count, steps, x, w, acc);
    }
    multiply<kRows>(steps, x, w, acc);
  }
};

void linear_with_bf16_dots(const LinearTask& t) {
  if (t.format == kBf16) return linear_by_steps<Avx512Vnni, Bf16Dots>(t);
  linear<Avx512Vnni>(t);
}

constexpr CpuKernels with_bf16_dots(CpuKernels k) {
  k.linear = linear_with_bf16_dots;
  k.split_group = split_group<Avx512Vnni>;
  k.split_rows = kDotRows;
  k.arithmetic = ",bf16x2dots";
  return k;
}

}  // namespace
}  // namespace leadline::worker::cpu
