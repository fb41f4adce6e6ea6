#pragma once
// Products with int8 and int4 weights on AMX tiles. A quantisation group of 64 is exactly the depth of one
// tile, sums are exact integers and groups are joined as int8_impl.h joins them, so the bits are those of
// every other table. int4 is spread to int8's bytes chunk by chunk. Included by kernels_amx*.cpp only;
// unnamed namespace on purpose (vector_scalar.h).

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/tiled_linear_impl.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {
namespace {

// The exact sums of 16 rows with 16 outputs.
struct TileDots {
  alignas(64) int32_t of[kTileRows][16];
};

// acc[rows][kPanel] += dots * scales, one vector of outputs.
static inline void fold_dots(const TileDots& dots, int rows, const uint8_t* x, Amx::F weight_scale,
                             float* acc) {
  const auto* scales = reinterpret_cast<const float*>(x + rows * kGroup);
  const auto* offsets = reinterpret_cast<const int32_t*>(scales + rows);
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    const auto dot = _mm512_add_epi32(_mm512_load_si512(dots.of[r]), _mm512_set1_epi32(offsets[r]));
    const Amx::F scale = Amx::mul(Amx::set1(scales[r]), weight_scale);
    Amx::store(acc + r * kPanel, Amx::fma(Amx::from_int(dot), scale, Amx::load(acc + r * kPanel)));
  }
}

// One block of a panel spread to int8's layout.
static inline void spread_int4(const uint8_t* w, uint8_t* out) {
  const auto book = Amx::codebook();
  constexpr int kHalf = kGroup / 8 * kPanel * 4;
#pragma GCC unroll 4
  for (int i = 0; i < kHalf; i += 64) {
    const auto codes = Amx::load_bytes(w + i);
    Amx::store_bytes(out + i, Amx::low_values(book, codes));
    Amx::store_bytes(out + kHalf + i, Amx::high_values(book, codes));
  }
  Amx::store_bytes(out + 2 * kHalf, Amx::load_bytes(w + kHalf));
}

template <int kFormat>
struct Int8Tiles {
  static constexpr bool kUnpacks = kFormat == kI4;
  static constexpr int64_t kBlock = group_block(kFormat), kRowBytes = kInt8RowBytes, kTogether = kInt8Groups;
  static int64_t steps(int64_t k, int slices) { return int8_groups(k, slices); }
  static const uint8_t* ready(const uint8_t* stored, int64_t groups, uint8_t* unpacked) {
    if constexpr (!kUnpacks) return stored;
    for (int64_t g = 0; g < groups; ++g) {
      for (int line = 0; line < kInt4Block; line += 64)
        __builtin_prefetch(stored + g * kInt4Block + kTogether * kInt4Block + line);
      spread_int4(stored + g * kInt4Block, unpacked + g * kInt8Block);
    }
    return unpacked;
  }

  // acc[16 kGroups][kPanel] += `groups` groups of k. Tiles 0 to 3 are sums (row group, half of the panel), 4
  // the rows, 6 and 7 the weights. While tiles compute a group's sums, the vectors fold the ones before.
  template <int kGroups, bool kStream>
  static void multiply(const TileRows& a, int64_t groups, const uint8_t* w, float* acc) {
    TileDots dots[2][2 * kGroups];
    const uint8_t *x[2] = {a.x[0], a.x[1]}, *before[2] = {nullptr, nullptr};
    Amx::F left = Amx::zero(), right = Amx::zero();
    float* below = acc + kTileRows * kPanel;
    for (int64_t g = 0; g < groups; ++g, w += kInt8Block) {
      TileDots(&now)[2 * kGroups] = dots[g & 1], (&done)[2 * kGroups] = dots[~g & 1];
      if constexpr (kStream && !kUnpacks) {
        for (int line = 0; line < kInt8Block; line += 64) __builtin_prefetch(w + kStreamBytes + line);
      }
      _tile_loadd(6, w, kPanel * 4);
      _tile_loadd(7, w + 64, kPanel * 4);
      _tile_loadd(4, x[0], kGroup);
      _tile_zero(0);
      _tile_dpbsud(0, 4, 6);
      _tile_zero(1);
      _tile_dpbsud(1, 4, 7);
      if constexpr (kGroups == 2) {
        _tile_loadd(5, x[1], kGroup);
        _tile_zero(2);
        _tile_dpbsud(2, 5, 6);
      }
      if (g > 0) fold_dots(done[0], a.rows[0], before[0], left, acc);
      _tile_stored(0, now[0].of, 64);
      if constexpr (kGroups == 2) {
        _tile_zero(3);
        _tile_dpbsud(3, 5, 7);
      }
      if (g > 0) fold_dots(done[1], a.rows[0], before[0], right, acc + 16);
      _tile_stored(1, now[1].of, 64);
      if constexpr (kGroups == 2) {
        if (g > 0) fold_dots(done[2], a.rows[1], before[1], left, below);
        _tile_stored(2, now[2].of, 64);
        if (g > 0) fold_dots(done[3], a.rows[1], before[1], right, below + 16);
        _tile_stored(3, now[3].of, 64);
      }
      const auto* scales = reinterpret_cast<const uint16_t*>(w + kGroup * kPanel);
      left = Amx::load_bf16(scales);
      right = Amx::load_bf16(scales + 16);
      for (int i = 0; i < kGroups; ++i) {
        before[i] = x[i];
        x[i] += a.rows[i] * kInt8RowBytes;
      }
    }
    const TileDots(&last)[2 * kGroups] = dots[(groups - 1) & 1];
    for (int i = 0; i < kGroups; ++i) {
      fold_dots(last[2 * i], a.rows[i], before[i], left, acc + i * kTileRows * kPanel);
      fold_dots(last[2 * i + 1], a.rows[i], before[i], right, acc + i * kTileRows * kPanel + 16);
    }
  }
};

// Few rows are packed in words for the vectors, more in whole rows for the tiles (int8_impl.h).
void linear_with_tiles(const LinearTask& t) {
  const bool few = t.groups == 1 && t.rows <= Amx::kWordRows;
  if (t.format == kI8 && !few) return linear_tiled<Int8Tiles<kI8>>(t);
  if (t.format == kI4 && !few) return linear_tiled<Int8Tiles<kI4>>(t);
  linear<Amx>(t);
}

}  // namespace
}  // namespace leadline::worker::cpu
