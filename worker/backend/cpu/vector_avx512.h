#pragma once
// Sixteen f32 lanes as one AVX-512 register (F, BW, DQ, VL). Included by kernels_avx512*.cpp only; the
// meaning of each operation is that of vector_scalar.h. Unnamed namespace on purpose (see there).

#include <immintrin.h>
#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {
namespace {

#define LEADLINE_VECTOR static inline __attribute__((always_inline))

struct Avx512 {
  using F = __m512;
  static constexpr int kGroupRows = 14, kGroupVectors = 2, kDirectRows = 14;
  static constexpr int kIntRows = 6, kWordRows = 6, kIntVectors = 2;
  static constexpr bool kTiles = false;
  static constexpr int kScoreRows = 16, kValueRows = 8, kValueVectors = 2;

  LEADLINE_VECTOR F zero() { return _mm512_setzero_ps(); }
  LEADLINE_VECTOR F set1(float x) { return _mm512_set1_ps(x); }
  LEADLINE_VECTOR F load(const float* p) { return _mm512_loadu_ps(p); }
  LEADLINE_VECTOR __mmask16 first(int n) { return __mmask16((1u << n) - 1u); }  // n in 0..16
  LEADLINE_VECTOR F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  LEADLINE_VECTOR void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  LEADLINE_VECTOR void store_n(float* p, F a, int n) { _mm512_mask_storeu_ps(p, first(n), a); }
  LEADLINE_VECTOR F add(F a, F b) { return _mm512_add_ps(a, b); }
  LEADLINE_VECTOR F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  LEADLINE_VECTOR F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  LEADLINE_VECTOR F div(F a, F b) { return _mm512_div_ps(a, b); }
  LEADLINE_VECTOR F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  LEADLINE_VECTOR F max(F a, F b) { return _mm512_max_ps(a, b); }
  LEADLINE_VECTOR F min(F a, F b) { return _mm512_min_ps(a, b); }
  LEADLINE_VECTOR F zero_below(F x, F limit, F v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), v);
  }
  LEADLINE_VECTOR F keep_range(F a, int lo, int hi, F fill) {  // 0 <= lo, hi <= 16
    const __mmask16 keep = lo < hi ? __mmask16(first(hi) & ~first(lo)) : __mmask16(0);
    return _mm512_mask_mov_ps(fill, keep, a);
  }
  LEADLINE_VECTOR F scale_exponent(F p, F s) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(s), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), n));
  }
  using I = __m512i;
  LEADLINE_VECTOR I set1_int(int32_t x) { return _mm512_set1_epi32(x); }
  // Seven bits and the eighth apart, so that no 16-bit pair saturates: 2 * 127 * 127 < 2^15.
  using Bytes = __m512i;
  LEADLINE_VECTOR Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  LEADLINE_VECTOR void store_bytes(uint8_t* p, Bytes a) { _mm512_storeu_si512(p, a); }
  LEADLINE_VECTOR Bytes codebook() {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kInt4Codebook)));
  }
  LEADLINE_VECTOR Bytes low_values(Bytes book, Bytes codes) {
    return _mm512_shuffle_epi8(book, _mm512_and_si512(codes, _mm512_set1_epi8(15)));
  }
  LEADLINE_VECTOR Bytes high_values(Bytes book, Bytes codes) {
    return low_values(book, _mm512_srli_epi16(codes, 4));
  }
  LEADLINE_VECTOR I dot4(I acc, Bytes bytes, int32_t x4) {
    const __m512i x = _mm512_set1_epi32(x4);
    const __m512i low = _mm512_and_si512(bytes, _mm512_set1_epi8(0x7f));
    const __m512i top = _mm512_and_si512(_mm512_srli_epi16(bytes, 7), _mm512_set1_epi8(1));
    const __m512i a = _mm512_madd_epi16(_mm512_maddubs_epi16(low, x), _mm512_set1_epi16(1));
    const __m512i b = _mm512_madd_epi16(_mm512_maddubs_epi16(top, x), _mm512_set1_epi16(128));
    return _mm512_add_epi32(acc, _mm512_add_epi32(a, b));
  }
  LEADLINE_VECTOR void store_low_bytes(uint8_t* p, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a)));
  }
  LEADLINE_VECTOR F from_int(I a) { return _mm512_cvtepi32_ps(a); }
  LEADLINE_VECTOR float sum(F a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  LEADLINE_VECTOR float max_of(F a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  LEADLINE_VECTOR F load_bf16(const uint16_t* p) {
    const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
  }
  LEADLINE_VECTOR F load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  LEADLINE_VECTOR F load_int8(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  LEADLINE_VECTOR void store_bf16(uint16_t* p, F a) {
    const __m512i b = _mm512_castps_si512(a);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(b, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(0x40));
    const __m512i r = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(r));
  }
  LEADLINE_VECTOR void store_f16(uint16_t* p, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
};

#ifdef __AVX512VNNI__
struct Avx512Vnni : Avx512 {
  // The instruction itself: g++ 12 copies the accumulator around the intrinsic, two moves for each product.
  LEADLINE_VECTOR I dot4(I acc, Bytes bytes, int32_t x4) {
    const __m512i x = _mm512_set1_epi32(x4);
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(bytes), "v"(x));
    return acc;
  }
};
#endif

#undef LEADLINE_VECTOR

}  // namespace
}  // namespace leadline::worker::cpu
