#pragma once
// AVX-512-VNNI lanes with AMX tiles for int8 products of more than a few rows. Included by kernels_amx.cpp
// only; unnamed namespace on purpose (vector_scalar.h). A quantisation group of 64 is exactly the depth of
// one tile, sums are exact integers and groups are joined as int8_impl.h joins them, so the bits are those of
// every other table.

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/vector_avx512.h"

namespace leadline::worker::cpu {
namespace {

#define LEADLINE_VECTOR static inline __attribute__((always_inline))

struct Amx : Avx512Vnni {
  static constexpr int kIntRows = 16;
  static constexpr bool kTiles = true;

  // Eight tiles of 16 rows x 64 bytes. Fewer rows are not set apart: what is read past a row group is finite
  // and ignored.
  LEADLINE_VECTOR void begin_tiles() {
    struct Config {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    // Static: GCC 12's intrinsic names eight bytes of it only, so a local one's other stores could be left
    // out.
    static constexpr Config config;
    _tile_loadconfig(&config);
  }
  LEADLINE_VECTOR void end_tiles() { _tile_release(); }

  // acc[rows][kPanel] += `groups` groups of activations (rows, 64) with a panel's blocks.
  LEADLINE_VECTOR void tile_groups(int rows, int64_t groups, const uint8_t* x, const uint8_t* w, float* acc) {
    alignas(64) int32_t dots[2][2][16][16];  // two groups in flight
    for (int64_t g = 0; g < groups; ++g, x += rows * kInt8RowBytes, w += kInt8Block) {
      auto& dot = dots[g & 1];
      _tile_zero(0);
      _tile_zero(1);
      _tile_loadd(2, x, kGroup);
      _tile_loadd(3, w, kPanel * 4);
      _tile_dpbsud(0, 2, 3);
      _tile_loadd(4, w + 64, kPanel * 4);
      _tile_dpbsud(1, 2, 4);
      _tile_stored(0, dot[0], 64);
      _tile_stored(1, dot[1], 64);
      const auto* scales = reinterpret_cast<const float*>(x + rows * kGroup);
      const auto* offsets = reinterpret_cast<const int32_t*>(scales + rows);
      const auto* weight_scales = reinterpret_cast<const uint16_t*>(w + kGroup * kPanel);
      const F left = load_bf16(weight_scales), right = load_bf16(weight_scales + 16);
      for (int r = 0; r < rows; ++r) {
        const I offset = set1_int(offsets[r]);
        const F scale = set1(scales[r]);
        float* sums = acc + r * kPanel;
        const F a = from_int(_mm512_add_epi32(_mm512_load_si512(dot[0][r]), offset));
        const F b = from_int(_mm512_add_epi32(_mm512_load_si512(dot[1][r]), offset));
        store(sums, fma(a, mul(scale, left), load(sums)));
        store(sums + 16, fma(b, mul(scale, right), load(sums + 16)));
      }
    }
  }
};

#undef LEADLINE_VECTOR

}  // namespace
}  // namespace leadline::worker::cpu
