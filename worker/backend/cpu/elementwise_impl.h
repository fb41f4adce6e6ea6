#pragma once
// Row-wise kernels over a per-ISA vector type V of 16 lanes: norms, SiLU, rotary embedding, conversions, the
// rank tree. Not a library: included by the kernel translation units. Unnamed namespace on purpose
// (vector_scalar.h). Invariant: sums run in 16 lanes, lane j over elements j mod 16, joined by V::sum's tree:
// the same bits for every V.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

// e^x to about 1.5 ulp: 2^n * P(r), r = x - n ln 2 in two parts (Cody and Waite), P the degree-7 Taylor
// polynomial, whose error on |r| <= ln2/2 is below 1e-8. 0 below -87.3 (results there would be subnormal),
// capped at e^88.
template <class V>
static inline __attribute__((always_inline)) typename V::F exp_of(typename V::F x) {
  using F = typename V::F;
  const F low = V::set1(-87.3f);
  const F c = V::max(low, V::min(V::set1(88.0f), x));  // in this order NaN stays NaN
  const F magic = V::set1(12582912.0f);                // 1.5 * 2^23: adding it rounds to the nearest integer
  const F shifted = V::fma(c, V::set1(1.44269504f), magic);
  const F n = V::sub(shifted, magic);
  F r = V::fma(n, V::set1(-0.693359375f), c);
  r = V::fma(n, V::set1(2.12194440e-4f), r);
  F p = V::set1(1.0f / 5040);
  p = V::fma(p, r, V::set1(1.0f / 720));
  p = V::fma(p, r, V::set1(1.0f / 120));
  p = V::fma(p, r, V::set1(1.0f / 24));
  p = V::fma(p, r, V::set1(1.0f / 6));
  p = V::fma(p, r, V::set1(0.5f));
  p = V::fma(p, r, V::set1(1.0f));
  p = V::fma(p, r, V::set1(1.0f));
  return V::zero_below(x, low, V::scale_exponent(p, shifted));
}

template <class V>
void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  typename V::F squares = V::zero();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const auto a = V::load(x + i);
    squares = V::fma(a, a, squares);
  }
  if (i < n) {
    const auto a = V::load_n(x + i, int(n - i));
    squares = V::fma(a, a, squares);
  }
  const auto scale = V::set1(1.0f / __builtin_sqrtf(V::sum(squares) / float(n) + eps));
  for (i = 0; i + 16 <= n; i += 16)
    V::store(out + i, V::mul(V::mul(V::load(x + i), scale), V::load(weight + i)));
  if (i < n) {
    const int rest = int(n - i);
    V::store_n(out + i, V::mul(V::mul(V::load_n(x + i, rest), scale), V::load_n(weight + i, rest)), rest);
  }
}

template <class V>
static inline __attribute__((always_inline)) typename V::F silu(typename V::F g, typename V::F u) {
  const auto one = V::set1(1.0f);
  return V::mul(V::div(g, V::add(one, exp_of<V>(V::sub(V::zero(), g)))), u);
}

template <class V>
void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) V::store(out + i, silu<V>(V::load(gate + i), V::load(up + i)));
  const int rest = int(n - i);
  if (rest > 0) V::store_n(out + i, silu<V>(V::load_n(gate + i, rest), V::load_n(up + i, rest)), rest);
}

// The tree over `count` equal neighbours: pairs first, then pairs of pairs; a remainder joins from the right.
template <class V>
static inline __attribute__((always_inline)) typename V::F rank_tree(const float* p, int count,
                                                                     int64_t stride, int lanes) {
  typename V::F levels[kTreeLevels];
  int top = 0;
  for (int r = 0; r < count; ++r) {
    levels[top++] = V::load_n(p + r * stride, lanes);
    for (int c = r + 1; (c & 1) == 0; c >>= 1, --top)
      levels[top - 2] = V::add(levels[top - 2], levels[top - 1]);
  }
  for (; top > 1; --top) levels[top - 2] = V::add(levels[top - 2], levels[top - 1]);
  return levels[0];
}

template <class V>
void add_partials(const float* partials, int ranks, int64_t rank_stride, const float* bias, int64_t n,
                  float* residual) {
  for (int64_t i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? int(n - i) : 16;
    auto sum = rank_tree<V>(partials + i, ranks, rank_stride, lanes);
    if (bias) sum = V::add(sum, V::load_n(bias + i, lanes));
    V::store_n(residual + i, V::add(V::load_n(residual + i, lanes), sum), lanes);
  }
}

// Pairs (i, i + half), rotated by cosines[i], sines[i].
template <class V>
void rotate(float* x, const float* cosines, const float* sines, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const int lanes = half - i < 16 ? int(half - i) : 16;
    const auto a = V::load_n(x + i, lanes), b = V::load_n(x + half + i, lanes);
    const auto c = V::load_n(cosines + i, lanes), s = V::load_n(sines + i, lanes);
    V::store_n(x + i, V::fma(a, c, V::sub(V::zero(), V::mul(b, s))), lanes);
    V::store_n(x + half + i, V::fma(b, c, V::mul(a, s)), lanes);
  }
}

// Elements of a stored format, 16 at a time.
template <class V, int kFormat>
struct Stored {
  using T = uint16_t;
  static inline __attribute__((always_inline)) typename V::F load(const T* p) {
    if constexpr (kFormat == kBf16)
      return V::load_bf16(p);
    else
      return V::load_f16(p);
  }
  static inline __attribute__((always_inline)) void store(T* p, typename V::F a) {
    if constexpr (kFormat == kBf16)
      V::store_bf16(p, a);
    else
      V::store_f16(p, a);
  }
};
template <class V>
struct Stored<V, kF32> {
  using T = float;
  static inline __attribute__((always_inline)) typename V::F load(const T* p) { return V::load(p); }
  static inline __attribute__((always_inline)) void store(T* p, typename V::F a) { V::store(p, a); }
};

template <class V>
struct Stored<V, kI8> {  // without its scale
  using T = int8_t;
  static inline __attribute__((always_inline)) typename V::F load(const T* p) { return V::load_int8(p); }
};

template <class V, int kFormat>
void widen_as(const void* from, int64_t n, float* to) {
  using S = Stored<V, kFormat>;
  const auto* p = static_cast<const typename S::T*>(from);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) V::store(to + i, S::load(p + i));
  if (i < n) {
    typename S::T tail[16] = {};
    for (int64_t j = i; j < n; ++j) tail[j - i] = p[j];
    V::store_n(to + i, S::load(tail), int(n - i));
  }
}

template <class V, int kFormat>
void narrow_as(const float* from, int64_t n, void* to) {
  using S = Stored<V, kFormat>;
  auto* p = static_cast<typename S::T*>(to);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) S::store(p + i, V::load(from + i));
  if (i < n) {
    typename S::T tail[16];
    S::store(tail, V::load_n(from + i, int(n - i)));
    for (int64_t j = i; j < n; ++j) p[j] = tail[j - i];
  }
}

template <class V>
void widen(const void* from, int format, int64_t n, float* to) {
  if (format == kF32) return widen_as<V, kF32>(from, n, to);
  if (format == kBf16) return widen_as<V, kBf16>(from, n, to);
  widen_as<V, kF16>(from, n, to);
}

// scale = largest / 127, bytes rounded to nearest even. A NaN or an infinity makes the scale NaN.
template <class V>
void quantize_slot(const float* x, int64_t n, uint8_t* bytes, float* scale) {
  auto largest = V::zero(), poison = V::zero();
  for (int64_t i = 0; i < n; i += 16) {
    const auto a = V::load_n(x + i, n - i < 16 ? int(n - i) : 16);
    largest = V::max(largest, V::max(a, V::sub(V::zero(), a)));
    poison = V::fma(a, V::zero(), poison);
  }
  const float top = V::max_of(largest);
  *scale = top / 127.0f + V::sum(poison);
  const auto inverse = V::set1(top > 0 ? 127.0f / top : 0.0f), magic = V::set1(12582912.0f);
  for (int64_t i = 0; i < n; i += 16) {
    const auto a = V::mul(V::load_n(x + i, n - i < 16 ? int(n - i) : 16), inverse);
    V::store_low_bytes(bytes + i, V::add(V::min(V::set1(127.0f), V::max(V::set1(-127.0f), a)), magic));
  }
}

template <class V>
void narrow(const float* from, int format, int64_t n, void* to) {
  if (format == kF32) return narrow_as<V, kF32>(from, n, to);
  if (format == kBf16) return narrow_as<V, kBf16>(from, n, to);
  narrow_as<V, kF16>(from, n, to);
}

}  // namespace
}  // namespace leadline::worker::cpu
