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

// acc[rows][kPanel] += dots * scales: one group of k of one row group, both halves of the panel.
static inline void fold_dots(const TileDots (&dots)[2], int rows, const uint8_t* x, const uint8_t* w,
                             float* acc) {
  const auto* scales = reinterpret_cast<const float*>(x + rows * kGroup);
  const auto* offsets = reinterpret_cast<const int32_t*>(scales + rows);
  const auto* weight_scales = reinterpret_cast<const uint16_t*>(w + kGroup * kPanel);
  const Amx::F left = Amx::load_bf16(weight_scales), right = Amx::load_bf16(weight_scales + 16);
#pragma GCC unroll 2
  for (int r = 0; r < rows; ++r, acc += kPanel) {
    const auto offset = _mm512_set1_epi32(offsets[r]);
    const Amx::F scale = Amx::set1(scales[r]);
    const auto a = _mm512_add_epi32(_mm512_load_si512(dots[0].of[r]), offset);
    const auto b = _mm512_add_epi32(_mm512_load_si512(dots[1].of[r]), offset);
    Amx::store(acc, Amx::fma(Amx::from_int(a), Amx::mul(scale, left), Amx::load(acc)));
    Amx::store(acc + 16, Amx::fma(Amx::from_int(b), Amx::mul(scale, right), Amx::load(acc + 16)));
  }
}

// Half of a block to come: from memory, or from the second cache. Farther than kStreamBytes: these tiles are
// alternate lines, read out of order, so the hardware's own fetching does little here.
constexpr int kInt8StreamBytes = 4096;
template <bool kStream, int kHalf>
static inline void fetch_part(const uint8_t* w) {
  const uint8_t* from = w + (kStream ? kInt8StreamBytes : 2 * kInt8Block) + kHalf * kInt8Block / 2;
#pragma GCC unroll 17
  for (int line = 0; line < kInt8Block / 2; line += 64) __builtin_prefetch(from + line);
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
  static constexpr bool kUnpacks = kFormat == kI4, kPairs = false;
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
  // and 5 the rows, 6 and 7 the weights. A pipeline of three: while tiles compute group g, the sums of g - 1
  // are stored and those of g - 2, settled by now, are folded; what g + 1 needs is loaded.
  template <int kGroups, bool kStream>
  static void multiply(const TileRows& a, int64_t groups, const uint8_t* w, float* acc, FetchAhead& ahead) {
    struct {
      TileDots of[kGroups][2];
      char apart[2048];
    } dots[2];
    const uint8_t* x[2] = {a.x[0], a.x[1]};
    const int64_t stride[2] = {int64_t{a.rows[0]} * kInt8RowBytes, int64_t{a.rows[1]} * kInt8RowBytes};
    float* below = acc + kTileRows * kPanel;
    _tile_loadd(6, w, kPanel * 4);
    _tile_loadd(7, w + 64, kPanel * 4);
    _tile_loadd(4, x[0], kGroup);
    if constexpr (kGroups == 2) _tile_loadd(5, x[1], kGroup);
    for (int64_t g = 0; g < groups; ++g, w += kInt8Block) {
      auto &stored = dots[g & 1].of, &settled = dots[~g & 1].of;
      const uint8_t* next = g + 1 < groups ? w + kInt8Block : w;  // the last round loads its own again
      if (g > 0) _tile_stored(0, stored[0][0].of, 64);
      _tile_zero(0);
      _tile_dpbsud(0, 4, 6);
      if (g > 0) _tile_stored(1, stored[0][1].of, 64);
      _tile_zero(1);
      _tile_dpbsud(1, 4, 7);
      _tile_loadd(4, g + 1 < groups ? x[0] + stride[0] : x[0], kGroup);
      if constexpr (!kStream) ahead.step();
      fetch_part<kStream && !kUnpacks, 0>(w);
      if (g > 1) fold_dots(settled[0], a.rows[0], x[0] - 2 * stride[0], w - 2 * kInt8Block, acc);
      x[0] += stride[0];
      if constexpr (kGroups == 2) {
        if (g > 0) _tile_stored(2, stored[1][0].of, 64);
        _tile_zero(2);
        _tile_dpbsud(2, 5, 6);
        if (g > 0) _tile_stored(3, stored[1][1].of, 64);
        _tile_zero(3);
        _tile_dpbsud(3, 5, 7);
        _tile_loadd(5, g + 1 < groups ? x[1] + stride[1] : x[1], kGroup);
      }
      _tile_loadd(6, next, kPanel * 4);
      _tile_loadd(7, next + 64, kPanel * 4);
      fetch_part<kStream && !kUnpacks, 1>(w);
      if constexpr (kGroups == 2) {
        if (g > 1) fold_dots(settled[1], a.rows[1], x[1] - 2 * stride[1], w - 2 * kInt8Block, below);
        x[1] += stride[1];
      }
    }
    auto &last = dots[groups & 1].of, &settled = dots[~groups & 1].of;
    _tile_stored(0, last[0][0].of, 64);
    _tile_stored(1, last[0][1].of, 64);
    if constexpr (kGroups == 2) {
      _tile_stored(2, last[1][0].of, 64);
      _tile_stored(3, last[1][1].of, 64);
    }
    for (int i = 0; i < kGroups; ++i) {
      float* sums = acc + i * kTileRows * kPanel;
      if (groups > 1) fold_dots(settled[i], a.rows[i], x[i] - 2 * stride[i], w - 2 * kInt8Block, sums);
      fold_dots(last[i], a.rows[i], x[i] - stride[i], w - kInt8Block, sums);
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
