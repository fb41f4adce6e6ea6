#pragma once
// Sixteen f32 lanes in plain C++: the meaning of every vector operation. Not fast. Included by
// kernels_scalar.cpp only. Unnamed namespace on purpose: each kernel translation unit keeps its own copies,
// none may be merged by the linker.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

struct Scalar {
  struct F {
    float v[16];
  };
  static constexpr int kGroupRows = 4, kGroupVectors = 1, kDirectRows = 1;
  static constexpr int kIntRows = 1, kWordRows = 1, kIntVectors = 1;
  static constexpr bool kTiles = false;
  static constexpr int kScoreRows = 2, kValueRows = 2, kValueVectors = 1;

  template <class Op>
  static inline __attribute__((always_inline)) F each(Op op) {
    F r;
    for (int i = 0; i < 16; ++i) r.v[i] = op(i);
    return r;
  }
  static uint32_t bits(float x) {
    uint32_t b;
    __builtin_memcpy(&b, &x, 4);
    return b;
  }
  static float value(uint32_t b) {
    float x;
    __builtin_memcpy(&x, &b, 4);
    return x;
  }
  static F zero() { return set1(0); }
  static F set1(float x) {
    return each([&](int) { return x; });
  }
  static F load(const float* p) {
    return each([&](int i) { return p[i]; });
  }
  static F load_n(const float* p, int n) {
    return each([&](int i) { return i < n ? p[i] : 0.0f; });
  }
  static void store(float* p, F a) {
    for (int i = 0; i < 16; ++i) p[i] = a.v[i];
  }
  static void store_n(float* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }
  static F add(F a, F b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  static F sub(F a, F b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
  }
  static F mul(F a, F b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  static F div(F a, F b) {
    return each([&](int i) { return a.v[i] / b.v[i]; });
  }
#ifdef __FP_FAST_FMAF
  static F fma(F a, F b, F c) {
    return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
  }
#else
  // The same bits without the instruction, where libm's fmaf takes 200 ns: the product is exact in f64, the
  // sum is rounded to odd there (the error of the addition tells whether to), which leaves the rounding to
  // f32 as if it were the only one (Boldo and Melquiond 2008, emulation of FMA and correctly rounded sums,
  // theorem 3).
  static F fma(F a, F b, F c) {
    typedef float Floats __attribute__((vector_size(32)));
    typedef double Doubles __attribute__((vector_size(64)));
    typedef uint64_t Bits __attribute__((vector_size(64)));
    for (int i = 0; i < 16; i += 8) {
      Floats x, y, z;
      __builtin_memcpy(&x, a.v + i, sizeof x);
      __builtin_memcpy(&y, b.v + i, sizeof y);
      __builtin_memcpy(&z, c.v + i, sizeof z);
      const Doubles p = __builtin_convertvector(x, Doubles) * __builtin_convertvector(y, Doubles);
      const Doubles q = __builtin_convertvector(z, Doubles);
      const Doubles sum = p + q, t = sum - p, error = (p - (sum - t)) + (q - t);  // NaN beside infinities
      const Bits inexact = (Bits)((error < 0) | (error > 0));
      Bits bits = (Bits)sum;
      bits -= inexact & (((Bits)error ^ bits) >> 63);  // towards zero ...
      bits |= inexact & 1;                             // ... and odd
      const Floats rounded = __builtin_convertvector((Doubles)bits, Floats);
      __builtin_memcpy(c.v + i, &rounded, sizeof rounded);
    }
    return c;
  }
#endif
  // As the x86 instructions: the second argument where the comparison is unordered.
  static F max(F a, F b) {
    return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F min(F a, F b) {
    return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F zero_below(F x, F limit, F v) {  // 0 where x < limit, else v
    return each([&](int i) { return x.v[i] < limit.v[i] ? 0.0f : v.v[i]; });
  }
  static F keep_range(F a, int lo, int hi, F fill) {  // lanes lo <= i < hi of a, else fill
    return each([&](int i) { return i >= lo && i < hi ? a.v[i] : fill.v[i]; });
  }
  static F scale_exponent(F p, F shifted) {  // p * 2^n, n in the low bits of shifted
    return each([&](int i) { return value(bits(p.v[i]) + (bits(shifted.v[i]) << 23)); });
  }
  // Sixteen 32-bit integers.
  struct I {
    int32_t v[16];
  };
  static I set1_int(int32_t x) {
    I r;
    for (int i = 0; i < 16; ++i) r.v[i] = x;
    return r;
  }
  // Sixty-four bytes; two int4 codes to a byte.
  struct Bytes {
    uint8_t v[64];
  };
  static Bytes load_bytes(const uint8_t* p) {
    Bytes r;
    __builtin_memcpy(r.v, p, 64);
    return r;
  }
  static Bytes codebook() {
    Bytes r = {};
    __builtin_memcpy(r.v, kInt4Codebook, 16);
    return r;
  }
  static Bytes low_values(const Bytes& book, Bytes codes) {
    for (int i = 0; i < 64; ++i) codes.v[i] = book.v[codes.v[i] & 15];
    return codes;
  }
  static Bytes high_values(const Bytes& book, Bytes codes) {
    for (int i = 0; i < 64; ++i) codes.v[i] = book.v[codes.v[i] >> 4];
    return codes;
  }
  // Lane i += the dot product of 4 unsigned weight bytes w[4 i ...] and 4 signed bytes of x; exact.
  static I dot4(I acc, const Bytes& w, int32_t x) {
    for (int i = 0; i < 16; ++i)
      for (int b = 0; b < 4; ++b) acc.v[i] += int32_t(w.v[4 * i + b]) * int8_t(uint32_t(x) >> (8 * b));
    return acc;
  }
  static void store_low_bytes(uint8_t* p, F a) {  // the low byte of each lane's bits
    for (int i = 0; i < 16; ++i) p[i] = uint8_t(bits(a.v[i]));
  }
  static F from_int(I a) {
    return each([&](int i) { return float(a.v[i]); });
  }
  static float sum(F a) {  // i with i + 8, then + 4, + 2, + 1
    for (int step = 8; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) a.v[i] = a.v[i] + a.v[i + step];
    return a.v[0];
  }
  static float max_of(F a) {
    for (int step = 8; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) a.v[i] = a.v[i] > a.v[i + step] ? a.v[i] : a.v[i + step];
    return a.v[0];
  }

  static float widen_f16(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) return value(sign | 0x7f800000u | (fraction << 13));
    if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact
      const float x = float(fraction) * 5.9604644775390625e-8f;
      return sign ? -x : x;
    }
    return value(sign | ((exponent + 112) << 23) | (fraction << 13));
  }
  static uint16_t narrow_f16(float x) {  // round to nearest even
    const uint32_t b = bits(x), sign = (b >> 16) & 0x8000u, magnitude = b & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {  // adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
      return uint16_t(sign | (bits(value(magnitude) + 0.5f) - 0x3f000000u));
    }
    return uint16_t(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
  }
  static uint16_t narrow_bf16(float x) {  // round to nearest even; NaN stays NaN
    const uint32_t b = bits(x);
    if ((b & 0x7fffffffu) > 0x7f800000u) return uint16_t((b >> 16) | 0x40u);
    return uint16_t((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
  }
  static F load_bf16(const uint16_t* p) {
    return each([&](int i) { return value(uint32_t(p[i]) << 16); });
  }
  static F load_f16(const uint16_t* p) {
    return each([&](int i) { return widen_f16(p[i]); });
  }
  static F load_int8(const int8_t* p) {
    return each([&](int i) { return float(p[i]); });
  }
  static void store_bf16(uint16_t* p, F a) {
    for (int i = 0; i < 16; ++i) p[i] = narrow_bf16(a.v[i]);
  }
  static void store_f16(uint16_t* p, F a) {
    for (int i = 0; i < 16; ++i) p[i] = narrow_f16(a.v[i]);
  }
};

}  // namespace
}  // namespace leadline::worker::cpu
