#pragma once
// Products with bf16 weights on AMX tiles: activations rounded to bf16 (nearest even), sums in f32 inside the
// tile. Included by kernels_amxbf16.cpp only; unnamed namespace on purpose (vector_scalar.h).
// Invariants:
//   1. One arithmetic for 1 row and 512: an output element is, per slice of K, one chain of TDPBF16PS over
//   steps of 32 in order, from zero. A tile computes its rows independently, and sums pass through f32 memory
//   between blocks, so neither rows nor blocking change a bit. Its bits are not those of the other tables
//   (CpuKernels::arithmetic).
//   2. Slices end at steps: the last step of a slice is filled with zeros in weights and activations.

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/linear_impl.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kTileRows = 16;
constexpr int kStepsTogether = 16;      // of a blocked pass: 32 KiB of a panel stay in the first cache
constexpr int kFetchSteps = 6;          // read ahead when a panel passes once
constexpr int kSumBytes = kPanel * 4;   // between rows of sums
constexpr int kPairBytes = kPanel * 4;  // between pairs of k of a panel

// Earlier stores are in memory before a tile reads it: GCC 12's tile loads do not say what they read.
static inline void settle_stores() {
  asm volatile("" ::: "memory");
}

// acc[32][kPanel] += `steps` steps of two row groups of 16, `second` after `first`.
static inline void two_groups(int64_t steps, const uint8_t* first, const uint8_t* second, const uint8_t* w,
                              float* acc) {
  float* below = acc + kTileRows * kPanel;
  _tile_loadd(0, acc, kSumBytes);
  _tile_loadd(1, acc + 16, kSumBytes);
  _tile_loadd(2, below, kSumBytes);
  _tile_loadd(3, below + 16, kSumBytes);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, first + s * kTileRows * kBf16StepBytes, kBf16StepBytes);
    _tile_loadd(6, w + s * kBf16Block, kPairBytes);
    _tile_loadd(7, w + s * kBf16Block + 64, kPairBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, second + s * kTileRows * kBf16StepBytes, kBf16StepBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, acc, kSumBytes);
  _tile_stored(1, acc + 16, kSumBytes);
  _tile_stored(2, below, kSumBytes);
  _tile_stored(3, below + 16, kSumBytes);
}

// acc[rows][kPanel] += `steps` steps of one row group. Rows beyond read what follows: finite or not, no row
// of a tile sees another.
template <bool kFetch>
static inline void one_group(int rows, int64_t steps, const uint8_t* x, const uint8_t* w, float* acc) {
  alignas(64) float own[kTileRows * kPanel];
  float* sums = rows == kTileRows ? acc : own;
  if (sums == own) {
    for (int i = 0; i < rows * kPanel; i += 16) Amx::store(own + i, Amx::load(acc + i));
    for (int i = rows * kPanel; i < kTileRows * kPanel; i += 16) Amx::store(own + i, Amx::zero());
    settle_stores();
  }
  _tile_loadd(0, sums, kSumBytes);
  _tile_loadd(1, sums + 16, kSumBytes);
  for (int64_t s = 0; s < steps; ++s) {
    const uint8_t* block = w + s * kBf16Block;
    if constexpr (kFetch) {
      for (int line = 0; line < kBf16Block; line += 64)
        __builtin_prefetch(block + kFetchSteps * kBf16Block + line);
    }
    _tile_loadd(4, x + s * rows * kBf16StepBytes, kBf16StepBytes);
    _tile_loadd(6, block, kPairBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, block + 64, kPairBytes);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, sums, kSumBytes);
  _tile_stored(1, sums + 16, kSumBytes);
  if (sums == own)
    for (int i = 0; i < rows * kPanel; i += 16) Amx::store(acc + i, Amx::load(own + i));
}

// `steps` steps, from step `at` of the whole K, of one panel with every row group of the task.
static inline void all_groups(const LinearTask& t, int64_t at, int64_t steps, const uint8_t* w, float* sums) {
  const int64_t all = bf16_steps(t.k, t.slices), first_row = group_row(t, t.group_begin);
  const auto* x = static_cast<const uint8_t*>(t.x);
  const auto of = [&](int64_t row, int rows) { return x + (row * all + at * rows) * kBf16StepBytes; };
  for (int group = t.group_begin; group < t.group_end;) {
    const int64_t row = group_row(t, group), next = group_row(t, group + 1);
    const int rows = int(next - row);
    float* acc = sums + (row - first_row) * kPanel;
    const bool whole =
        rows == kTileRows && group + 1 < t.group_end && group_row(t, group + 2) - next == kTileRows;
    if (whole) {
      two_groups(steps, of(row, rows), of(next, rows), w, acc);
      group += 2;
      continue;
    }
    if (t.group_end - t.group_begin == 1)
      one_group<true>(rows, steps, of(row, rows), w, acc);
    else
      one_group<false>(rows, steps, of(row, rows), w, acc);
    ++group;
  }
}

void linear_bf16_tiles(const LinearTask& t) {
  const int64_t rows = group_row(t, t.group_end) - group_row(t, t.group_begin);
  const int64_t all = bf16_steps(t.k, t.slices), per_slice = all / t.slices;
  const int64_t together = t.group_end - t.group_begin == 1 ? per_slice : kStepsTogether;
  Amx::begin_tiles();
  for (int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    const uint8_t* w = static_cast<const uint8_t*>(t.weights) + panel * all * kBf16Block;
    SliceTree<Amx> tree{t.scratch, rows * kPanel};
    for (int s = 0; s < t.slices; ++s) {
      float* sums = tree.next();
      settle_stores();
      for (int64_t at = s * per_slice; at < (s + 1) * per_slice; at += together) {
        const int64_t left = (s + 1) * per_slice - at;
        all_groups(t, at, left < together ? left : together, w + at * kBf16Block, sums);
      }
      tree.done(s);
    }
    write_panel<Amx>(t, panel, group_row(t, t.group_begin), rows, tree.root());
  }
  Amx::end_tiles();
}

void linear_tiles(const LinearTask& t) {
  if (t.format == kBf16) return linear_bf16_tiles(t);
  linear<Amx>(t);
}

constexpr CpuKernels with_bf16_tiles(CpuKernels k) {
  k.linear = linear_tiles;
  k.bf16_tiles = true;
  k.arithmetic = ",amxbf16";
  return k;
}

}  // namespace
}  // namespace leadline::worker::cpu
