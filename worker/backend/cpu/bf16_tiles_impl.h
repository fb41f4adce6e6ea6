#pragma once
// Products with bf16 weights on AMX tiles. An activation is the sum of two bf16 values (its rounding and the
// rounding of the rest: 16 bits of mantissa, as Henry, Tang and Heinecke 2019, leveraging the bfloat16
// artificial intelligence datatype for higher-precision computations), so a product is nearly f32's at twice
// the tiles' work. Included by kernels_amxbf16.cpp only; unnamed namespace on purpose (vector_scalar.h).
// Invariants:
//   1. One arithmetic for 1 row and 512: an output element is, per slice of K, one chain of TDPBF16PS over
//   steps of 32 in order, the rounding before the rest, from zero. A tile computes its rows independently.
//   Its bits are not those of the other tables (CpuKernels::arithmetic).
//   2. Slices end at steps: the last step of a slice is filled with zeros in weights and activations.

#include <stdint.h>

#include "worker/backend/cpu/bf16_split_impl.h"
#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/int8_tiles_impl.h"
#include "worker/backend/cpu/tiled_linear_impl.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {
namespace {

struct Bf16Tiles {
  static constexpr bool kUnpacks = false, kPairs = true;
  static constexpr int64_t kBlock = kBf16Block, kRowBytes = kBf16RowBytes, kTogether = 8;
  static int64_t steps(int64_t k, int slices) { return bf16_steps(k, slices); }
  static const uint8_t* ready(const uint8_t* stored, int64_t, uint8_t*) { return stored; }

  static inline __attribute__((always_inline)) void fetch_block(const uint8_t* w) {
#pragma GCC unroll 32
    for (int line = 0; line < kBf16Block; line += 64) __builtin_prefetch(w + kStreamBytes + line);
  }

  // One row group, two panels whose sums lie `plane` floats apart: rows are read once for both. They walk
  // through the first cache beside the weights and are pushed out by them. Tiles 0 to 3 are sums (panel, half
  // of it), 4 and 5 the rows' roundings and rests, 6 and 7 the weights.
  static void multiply_pair(const TileRows& a, int64_t steps, const uint8_t* const* panels, float* acc,
                            int64_t plane) {
    constexpr int kSumBytes = kPanel * 4, kPairBytes = kTileOutputs * 4;
    float* right_acc = acc + plane;
    const uint8_t *x = a.x[0], *left = panels[0], *right = panels[1];
    const int64_t part = a.rows[0] * kBf16StepBytes;
    _tile_loadd(0, acc, kSumBytes);
    _tile_loadd(1, acc + 16, kSumBytes);
    _tile_loadd(2, right_acc, kSumBytes);
    _tile_loadd(3, right_acc + 16, kSumBytes);
    for (int64_t s = 0; s < steps; ++s, x += 2 * part, left += kBf16Block, right += kBf16Block) {
      fetch_block(left);
      fetch_block(right);
      _tile_loadd(4, x, kBf16StepBytes);
      _tile_loadd(5, x + part, kBf16StepBytes);
      _tile_loadd(6, left, kPairBytes);
      _tile_loadd(7, left + kBf16TileBytes, kPairBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(0, 5, 6);
      _tile_dpbf16ps(1, 5, 7);
      _tile_loadd(6, right, kPairBytes);
      _tile_loadd(7, right + kBf16TileBytes, kPairBytes);
      _tile_dpbf16ps(2, 4, 6);
      _tile_dpbf16ps(3, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, acc, kSumBytes);
    _tile_stored(1, acc + 16, kSumBytes);
    _tile_stored(2, right_acc, kSumBytes);
    _tile_stored(3, right_acc + 16, kSumBytes);
  }

  // acc[16 kGroups][kPanel] += `steps` steps of k. Tiles 0 to 3 are sums (row group, half of the panel), 4
  // and 5 the rows, 6 and 7 the weights.
  template <int kGroups, bool kStream>
  static void multiply(const TileRows& a, int64_t steps, const uint8_t* w, float* acc, FetchAhead& ahead) {
    constexpr int kSumBytes = kPanel * 4, kPairBytes = kTileOutputs * 4;
    float* below = acc + kTileRows * kPanel;
    const uint8_t *first = a.x[0], *second = a.x[1];
    const int64_t first_bytes = a.rows[0] * kBf16StepBytes, second_bytes = a.rows[1] * kBf16StepBytes;
    _tile_loadd(0, acc, kSumBytes);
    _tile_loadd(1, acc + 16, kSumBytes);
    if constexpr (kGroups == 2) {
      _tile_loadd(2, below, kSumBytes);
      _tile_loadd(3, below + 16, kSumBytes);
    }
    for (int64_t s = 0; s < steps; ++s, w += kBf16Block) {
      if constexpr (kStream) {
        fetch_block(w);
      } else {
#pragma GCC unroll 32
        for (int line = 0; line < kBf16Block; line += 64) __builtin_prefetch(w + 2 * kBf16Block + line);
        ahead.step();
      }
      _tile_loadd(4, first, kBf16StepBytes);
      _tile_loadd(6, w, kPairBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, w + kBf16TileBytes, kPairBytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kGroups == 2) {
        _tile_loadd(5, second, kBf16StepBytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_loadd(4, first + first_bytes, kBf16StepBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kGroups == 2) {
        _tile_loadd(5, second + second_bytes, kBf16StepBytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        second += 2 * second_bytes;
      }
      first += 2 * first_bytes;
    }
    _tile_stored(0, acc, kSumBytes);
    _tile_stored(1, acc + 16, kSumBytes);
    if constexpr (kGroups == 2) {
      _tile_stored(2, below, kSumBytes);
      _tile_stored(3, below + 16, kSumBytes);
    }
  }
};

void linear_with_bf16_tiles(const LinearTask& t) {
  if (t.format == kBf16) return linear_tiled<Bf16Tiles>(t);
  linear_with_tiles(t);
}

constexpr CpuKernels with_bf16_tiles(CpuKernels k) {
  k.linear = linear_with_bf16_tiles;
  k.split_group = split_group<Amx>;
  k.split_rows = kTileRows;
  k.split_tiles = true;
  k.arithmetic = ",amxbf16x2,attn3";  // attn: attention_tiles_impl.h
  return k;
}

}  // namespace
}  // namespace leadline::worker::cpu
