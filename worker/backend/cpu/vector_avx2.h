#pragma once
// Sixteen f32 lanes as two AVX2 registers (with FMA and F16C). Included by kernels_avx2.cpp only; the meaning
// of each operation is that of vector_scalar.h. Unnamed namespace on purpose (see there).

#include <immintrin.h>
#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

#define LEADLINE_VECTOR static inline __attribute__((always_inline))

struct Avx2 {
  struct F {
    __m256 lo, hi;
  };
  static constexpr int kGroupRows = 6, kGroupVectors = 1, kDirectRows = 3;
  static constexpr int kIntRows = 2, kWordRows = 2, kIntVectors = 1;
  static constexpr bool kTiles = false;
  static constexpr int kScoreRows = 6, kValueRows = 3, kValueVectors = 2;

  LEADLINE_VECTOR F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  LEADLINE_VECTOR F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  LEADLINE_VECTOR F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  LEADLINE_VECTOR F load_n(const float* p, int n) {
    float t[16] = {};
    for (int i = 0; i < n; ++i) t[i] = p[i];
    return load(t);
  }
  LEADLINE_VECTOR void store(float* p, F a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
  }
  LEADLINE_VECTOR void store_n(float* p, F a, int n) {
    float t[16];
    store(t, a);
    for (int i = 0; i < n; ++i) p[i] = t[i];
  }
  LEADLINE_VECTOR F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  LEADLINE_VECTOR F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
  LEADLINE_VECTOR F zero_below(F x, F limit, F v) {
    return {_mm256_andnot_ps(_mm256_cmp_ps(x.lo, limit.lo, _CMP_LT_OQ), v.lo),
            _mm256_andnot_ps(_mm256_cmp_ps(x.hi, limit.hi, _CMP_LT_OQ), v.hi)};
  }
  LEADLINE_VECTOR __m256 in_range(__m256i lane, int lo, int hi) {
    const __m256i above = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(lo - 1));
    return _mm256_castsi256_ps(_mm256_and_si256(above, _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), lane)));
  }
  LEADLINE_VECTOR F keep_range(F a, int lo, int hi, F fill) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return {_mm256_blendv_ps(fill.lo, a.lo, in_range(lane, lo, hi)),
            _mm256_blendv_ps(fill.hi, a.hi, in_range(_mm256_add_epi32(lane, _mm256_set1_epi32(8)), lo, hi))};
  }
  LEADLINE_VECTOR __m256 scale_half(__m256 p, __m256 s) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(s), 23)));
  }
  LEADLINE_VECTOR F scale_exponent(F p, F s) { return {scale_half(p.lo, s.lo), scale_half(p.hi, s.hi)}; }
  struct I {
    __m256i lo, hi;
  };
  LEADLINE_VECTOR I set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  // Seven bits and the eighth apart, so that no 16-bit pair saturates: 2 * 127 * 127 < 2^15.
  LEADLINE_VECTOR __m256i dot_half(__m256i acc, __m256i bytes, __m256i x) {
    const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(0x7f));
    const __m256i top = _mm256_and_si256(_mm256_srli_epi16(bytes, 7), _mm256_set1_epi8(1));
    const __m256i a = _mm256_madd_epi16(_mm256_maddubs_epi16(low, x), _mm256_set1_epi16(1));
    const __m256i b = _mm256_madd_epi16(_mm256_maddubs_epi16(top, x), _mm256_set1_epi16(128));
    return _mm256_add_epi32(acc, _mm256_add_epi32(a, b));
  }
  using Bytes = I;
  LEADLINE_VECTOR Bytes load_bytes(const uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
  }
  LEADLINE_VECTOR Bytes codebook() {
    const __m256i book =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kInt4Codebook)));
    return {book, book};
  }
  LEADLINE_VECTOR Bytes low_values(Bytes book, Bytes codes) {
    const __m256i nibble = _mm256_set1_epi8(15);
    return {_mm256_shuffle_epi8(book.lo, _mm256_and_si256(codes.lo, nibble)),
            _mm256_shuffle_epi8(book.hi, _mm256_and_si256(codes.hi, nibble))};
  }
  LEADLINE_VECTOR Bytes high_values(Bytes book, Bytes codes) {
    return low_values(book, {_mm256_srli_epi16(codes.lo, 4), _mm256_srli_epi16(codes.hi, 4)});
  }
  LEADLINE_VECTOR I dot4(I acc, Bytes w, int32_t x4) {
    const __m256i x = _mm256_set1_epi32(x4);
    return {dot_half(acc.lo, w.lo, x), dot_half(acc.hi, w.hi, x)};
  }
  LEADLINE_VECTOR void store_low_bytes(uint8_t* p, F a) {
    const __m256i byte = _mm256_set1_epi32(0xff);
    const __m256i lo = _mm256_and_si256(_mm256_castps_si256(a.lo), byte);
    const __m256i hi = _mm256_and_si256(_mm256_castps_si256(a.hi), byte);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8);
    const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(low, high));
  }
  LEADLINE_VECTOR F from_int(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
  LEADLINE_VECTOR float sum(F a) {
    const __m256 eight = _mm256_add_ps(a.lo, a.hi);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  LEADLINE_VECTOR float max_of(F a) {
    const __m256 eight = _mm256_max_ps(a.lo, a.hi);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  LEADLINE_VECTOR __m256 widen_bf16(const uint16_t* p) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  }
  LEADLINE_VECTOR F load_bf16(const uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
  LEADLINE_VECTOR F load_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  LEADLINE_VECTOR __m256 widen_int8(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  LEADLINE_VECTOR F load_int8(const int8_t* p) { return {widen_int8(p), widen_int8(p + 8)}; }
  LEADLINE_VECTOR void narrow_bf16(uint16_t* p, __m256 x) {
    const __m256i b = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(b, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(0x40));
    const __m256 unordered = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256i r = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(unordered));
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }
  LEADLINE_VECTOR void store_bf16(uint16_t* p, F a) {
    narrow_bf16(p, a.lo);
    narrow_bf16(p + 8, a.hi);
  }
  LEADLINE_VECTOR void store_f16(uint16_t* p, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
  }
};

#undef LEADLINE_VECTOR

}  // namespace
}  // namespace leadline::worker::cpu
