#pragma once
// Products of activations with packed weight panels, over a per-ISA vector type V of 16 lanes. Not the thread
// split. Included by the kernel translation units. Unnamed namespace on purpose (vector_scalar.h).
// Invariants:
//   1. An output element is, per slice, one chain of fused multiply-adds over k in order, starting from 0,
//   however rows and k
//      are blocked: accumulators live in f32 registers or f32 memory between blocks, so blocking changes no
//      bit.
//   2. Slices are joined in the tree of SliceTree, which over 2^m neighbours is the same tree that
//   add_partials continues.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/elementwise_impl.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kFewGroups = 5;  // up to here panels are read as stored
// Ahead of a direct tile: the hardware alone lets 6 rows take twice the time of one.
constexpr int kPrefetchBytes = 1024;

// The line at p, to the first cache. The instruction itself where there is one: GCC 12 leaves out calls whose
// only effect is a prefetch, and bunches prefetches where they should be spread over the work.
static inline __attribute__((always_inline)) void fetch_line(const void* p) {
#if defined(__x86_64__)
  asm volatile("prefetcht0 %0" ::"m"(*static_cast<const char*>(p)));
#else
  __builtin_prefetch(p);
#endif
}

// acc[kRows][kPanel] += x[k][kRows]^T * panel[k][kPanel], kVectors vectors of the panel from `panel` on.
template <class V, int kFormat, int kRows, int kVectors, int kAhead>
void tile(int64_t k_count, const float* x, const void* panel, float* acc) {
  using S = Stored<V, kFormat>;
  const auto* w = static_cast<const typename S::T*>(panel);
  typename V::F sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::load(acc + r * kPanel + v * 16);
  for (int64_t k = 0; k < k_count; ++k) {
    if constexpr (kAhead > 0) {
      for (int line = 0; line < int(kPanel * sizeof(typename S::T)); line += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(w + k * kPanel) + kAhead + line);
    }
    typename V::F weights[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) weights[v] = S::load(w + k * kPanel + v * 16);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const typename V::F a = V::set1(x[k * kRows + r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(a, weights[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(acc + r * kPanel + v * 16, sums[r][v]);
}

// Whole panel width in steps of kVectors; direct tiles take both halves at once so that weights are read
// once.
template <class V, int kFormat, int kRows, int kVectors, int kAhead>
static inline void panel_tile(int64_t k_count, const float* x, const void* panel, float* acc) {
  using T = typename Stored<V, kFormat>::T;
  for (int v = 0; v < kPanel / 16; v += kVectors)
    tile<V, kFormat, kRows, kVectors, kAhead>(k_count, x, static_cast<const T*>(panel) + v * 16,
                                              acc + v * 16);
}

template <class V, int kFormat, int kVectors, int kMaxRows, int kAhead, int kRows = 1>
static inline void tile_rows(int rows, int64_t k_count, const float* x, const void* panel, float* acc) {
  if constexpr (kRows < kMaxRows) {
    if (rows != kRows)
      return tile_rows<V, kFormat, kVectors, kMaxRows, kAhead, kRows + 1>(rows, k_count, x, panel, acc);
  }
  panel_tile<V, kFormat, kRows, kVectors, kAhead>(k_count, x, panel, acc);
}

// Partial sums of slices, `floats` apart: after slice s is put on top, equal neighbours are joined.
template <class V>
struct SliceTree {
  float* levels;
  int64_t floats;
  int top = 0;

  float* next() {  // the zeroed buffer of the next slice
    float* p = levels + top++ * floats;
    for (int64_t i = 0; i < floats; i += 16) V::store(p + i, V::zero());
    return p;
  }
  void join() {
    float* a = levels + (top - 2) * floats;
    const float* b = a + floats;
    for (int64_t i = 0; i < floats; i += 16) V::store(a + i, V::add(V::load(a + i), V::load(b + i)));
    --top;
  }
  void done(int slice) {
    for (int c = slice + 1; (c & 1) == 0; c >>= 1) join();
  }
  const float* root() {
    while (top > 1) join();
    return levels;
  }
};

static inline int64_t group_row(const LinearTask& t, int group) {
  return t.rows * group / t.groups;
}

template <class V>
void write_panel(const LinearTask& t, int64_t panel, int64_t first_row, int64_t rows, const float* sums) {
  const int64_t column = panel * kPanel;
  for (int v = 0; v < kPanel; v += 16) {
    const int64_t left = t.n - column - v;
    if (left <= 0) return;
    const int lanes = left < 16 ? int(left) : 16;
    const auto bias = t.bias ? V::load_n(t.bias + column + v, lanes) : V::zero();
    for (int64_t r = 0; r < rows; ++r) {
      auto sum = V::load(sums + r * kPanel + v);
      if (t.bias) sum = V::add(sum, bias);
      V::store_n(t.out + (first_row + r) * t.out_stride + column + v, sum, lanes);
    }
  }
}

// Few rows (one group): panel by panel straight from the stored format; bound by the memory that holds the
// weights.
template <class V, int kFormat>
void linear_direct(const LinearTask& t) {
  using T = typename Stored<V, kFormat>::T;
  const int rows = int(t.rows);
  const int64_t step = t.k / t.slices;
  for (int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    const T* w = static_cast<const T*>(t.weights) + panel * t.k * kPanel;
    SliceTree<V> tree{t.scratch, int64_t{rows} * kPanel};
    for (int s = 0; s < t.slices; ++s) {
      tile_rows<V, kFormat, kPanel / 16, V::kDirectRows, kPrefetchBytes>(
          rows, step, static_cast<const float*>(t.x) + s * step * rows, w + s * step * kPanel, tree.next());
      tree.done(s);
    }
    write_panel<V>(t, panel, 0, rows, tree.root());
  }
}

// One block of k of some panels against every row group. Widened first, so that the conversion is paid once
// for all groups; a few groups would not win back the way through the cache, so they read the stored format,
// panel by panel.
template <class V, int kFormat, bool kWiden>
struct BlockedPanels {
  using T = typename Stored<V, kFormat>::T;
  const LinearTask& t;
  int64_t first_row, plane;  // plane: floats of one panel's sums
  float* widened;

  void block(int64_t panel, int panels, int64_t k, int64_t count, float* sums) const {
    for (int p = 0; p < panels; ++p) {
      const T* w = static_cast<const T*>(t.weights) + ((panel + p) * t.k + k) * kPanel;
      if constexpr (kWiden) widen_as<V, kFormat>(w, count * kPanel, widened);
      for (int g = t.group_begin; g < t.group_end; ++g) {
        const int64_t r = group_row(t, g);
        const int m = int(group_row(t, g + 1) - r);
        const float* x = static_cast<const float*>(t.x) + r * t.k + k * m;
        float* acc = sums + p * plane + (r - first_row) * kPanel;
        if constexpr (kWiden)
          tile_rows<V, kF32, V::kGroupVectors, V::kGroupRows, 0>(m, count, x, widened, acc);
        else
          tile_rows<V, kFormat, V::kGroupVectors, V::kGroupRows, kPrefetchBytes>(m, count, x, w, acc);
      }
    }
  }
};

template <class V, int kFormat, bool kWiden>
void linear_blocked(const LinearTask& t) {
  constexpr int kTogether = kWiden ? kBlockPanels : 1;
  const int64_t first_row = group_row(t, t.group_begin), rows = group_row(t, t.group_end) - first_row;
  const int64_t step = t.k / t.slices, plane = rows * kPanel;
  float* widened = t.scratch + kLinearSumFloats;
  const BlockedPanels<V, kFormat, kWiden> blocked{t, first_row, plane, widened};
  for (int64_t panel = t.panel_begin; panel < t.panel_end; panel += kTogether) {
    const int64_t left = t.panel_end - panel;
    const int panels = left < kTogether ? int(left) : kTogether;
    SliceTree<V> tree{t.scratch, plane * panels};
    for (int s = 0; s < t.slices; ++s) {
      float* sums = tree.next();
      for (int64_t k = s * step; k < (s + 1) * step; k += kBlockK) {
        const int64_t k_left = (s + 1) * step - k;
        blocked.block(panel, panels, k, k_left < kBlockK ? k_left : kBlockK, sums);
      }
      tree.done(s);
    }
    const float* sums = tree.root();
    for (int p = 0; p < panels; ++p) write_panel<V>(t, panel + p, first_row, rows, sums + p * plane);
  }
}

template <class V, int kFormat>
void linear_as(const LinearTask& t) {
  if (t.groups == 1 && t.rows <= V::kDirectRows) return linear_direct<V, kFormat>(t);
  if (kFormat == kF32 || t.group_end - t.group_begin <= kFewGroups)
    return linear_blocked<V, kFormat, false>(t);
  linear_blocked<V, kFormat, true>(t);
}

// Activations packed by steps of k (K: what a step is, and its rows' products), panel by panel; with several
// row groups K::kTogether steps of a panel stay in the cache while all of them pass.
template <class V, class K>
void linear_by_steps(const LinearTask& t) {
  const int64_t first_row = group_row(t, t.group_begin), rows = group_row(t, t.group_end) - first_row;
  const int64_t all = K::steps(t.k, t.slices), per_slice = all / t.slices;
  const int64_t block = t.group_end - t.group_begin == 1 ? per_slice : K::kTogether;
  for (int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    const uint8_t* w = static_cast<const uint8_t*>(t.weights) + panel * all * K::kBlock;
    SliceTree<V> tree{t.scratch, rows * kPanel};
    for (int s = 0; s < t.slices; ++s) {
      float* sums = tree.next();
      for (int64_t at = s * per_slice; at < (s + 1) * per_slice; at += block) {
        const int64_t left = (s + 1) * per_slice - at, count = left < block ? left : block;
        for (int group = t.group_begin; group < t.group_end; ++group) {
          const int64_t r = group_row(t, group), m = group_row(t, group + 1) - r;
          const uint8_t* x = static_cast<const uint8_t*>(t.x) + (r * all + at * m) * K::kRowBytes;
          K::rows(int(m), count, x, w + at * K::kBlock, sums + (r - first_row) * kPanel);
        }
      }
      tree.done(s);
    }
    write_panel<V>(t, panel, first_row, rows, tree.root());
  }
}

// int8_impl.h
template <class V, int kFormat>
void linear_groups(const LinearTask& t);

template <class V>
void linear(const LinearTask& t) {
  if (t.format == kI8) return linear_groups<V, kI8>(t);
  if (t.format == kI4) return linear_groups<V, kI4>(t);
  if (t.format == kF32) return linear_as<V, kF32>(t);
  if (t.format == kBf16) return linear_as<V, kBf16>(t);
  linear_as<V, kF16>(t);
}

// Element (k, i) of the group to packed[k * rows + i].
template <class V>
void pack_group(const float* x, int64_t row_stride, int rows, int64_t k, float* packed) {
  for (int64_t begin = 0; begin < k; begin += 16) {
    const int64_t end = begin + 16 < k ? begin + 16 : k;
    for (int r = 0; r < rows; ++r)
      for (int64_t i = begin; i < end; ++i) packed[i * rows + r] = x[r * row_stride + i];
  }
}

}  // namespace
}  // namespace leadline::worker::cpu
