#pragma once
// Products on AMX tiles, whatever the format: how rows, panels and k are blocked so that tiles stay busy. The
// arithmetic of one block is the kernel class K's (int8_tiles_impl.h, bf16_tiles_impl.h). Included by
// kernels_amx*.cpp only; unnamed namespace on purpose (vector_scalar.h).
// Blocking (Goto and van de Geijn 2008, anatomy of high-performance matrix multiplication, turned round for
// packed weights): an item is some panels and a block of rows. A chunk of k at a time, two row groups' part
// of that chunk stays in the first cache while the panels' parts pass from the second. Few rows (one group):
// panel by panel or two by two, k in sequence, at the speed of memory.
// Invariants: those of linear_impl.h: sums pass through f32 memory between chunks, so blocking changes no
// bit. Rows of a tile beyond a group's read what follows and are computed, never shown.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/linear_impl.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {
namespace {

// Earlier stores are in memory before a tile reads it: GCC 12's tile loads do not say what they read.
static inline void settle_stores() {
  asm volatile("" ::: "memory");
}

// One or two row groups' activations from some step of k on.
struct TileRows {
  const uint8_t* x[2];
  int rows[2];
};

// What will be needed after the chunk at hand, a little with each step: rows and weights come from the third
// cache or from memory, and a tile that waits for them stops everything.
struct FetchAhead {
  const uint8_t* at[3];  // two row groups' next chunk, and a panel's
  int64_t bytes[3];      // of each, with one step

  inline __attribute__((always_inline)) void step() {
    for (int i = 0; i < 3; ++i) {
      for (int64_t b = 0; b < bytes[i]; b += 64) __builtin_prefetch(at[i] + b, 0, 2);
      at[i] += bytes[i];
    }
  }
};

template <class K>
struct TiledPanels {
  const LinearTask& t;
  int64_t all, plane;  // steps of k in all; floats of one panel's sums: kTileRows for each row group
  uint8_t* unpacked;

  [[nodiscard]] const uint8_t* x_of(int group, int64_t at) const {
    const int64_t row = group_row(t, group), rows = group_row(t, group + 1) - row;
    return static_cast<const uint8_t*>(t.x) + (row * all + at * rows) * K::kRowBytes;
  }
  [[nodiscard]] int rows_of(int group) const { return int(group_row(t, group + 1) - group_row(t, group)); }

  // The next two row groups of this chunk, or the first two of the next: spread over the panels' steps.
  [[nodiscard]] FetchAhead rows_ahead(int group, int panels, int64_t at, int64_t steps) const {
    const bool wraps = group + 2 >= t.group_end;
    const int first = wraps ? t.group_begin : group + 2, second = first + 1 < t.group_end ? first + 1 : first;
    const int64_t from = wraps ? at + steps : at, bytes = (kTileRows * K::kRowBytes / panels + 63) / 64 * 64;
    if (from >= all) return {};
    return {{x_of(first, from), x_of(second, from), nullptr}, {bytes, bytes, 0}};
  }
  // This row pair's share of the panel's next chunk.
  void panel_ahead(FetchAhead& ahead, int group, int64_t panel, int64_t at, int64_t steps) const {
    const int64_t pairs = (t.group_end - t.group_begin + 1) / 2, pair = (group - t.group_begin) / 2;
    const int64_t share = (steps * K::kBlock / pairs + 63) / 64 * 64;
    ahead.at[2] =
        static_cast<const uint8_t*>(t.weights) + (panel * all + at + steps) * K::kBlock + pair * share;
    ahead.bytes[2] = pairs > 1 ? (share / steps + 63) / 64 * 64 : 0;
  }

  // Steps [at, at + steps) of panels [panel, panel + panels) with every row group.
  void pass(int64_t panel, int panels, int64_t at, int64_t steps, float* sums) const {
    const uint8_t* w[kTilePanels];
    for (int p = 0; p < panels; ++p) {
      const uint8_t* stored = static_cast<const uint8_t*>(t.weights) + ((panel + p) * all + at) * K::kBlock;
      w[p] = K::ready(stored, steps, unpacked + p * kTilePanelBytes);
    }
    settle_stores();
    for (int g = t.group_begin; g < t.group_end; g += 2) {
      const bool two = g + 1 < t.group_end;
      FetchAhead ahead = rows_ahead(g, panels, at, steps);
      const TileRows a = {{x_of(g, at), two ? x_of(g + 1, at) : nullptr},
                          {rows_of(g), two ? rows_of(g + 1) : 0}};
      float* acc = sums + int64_t{g - t.group_begin} * kTileRows * kPanel;
      if constexpr (K::kPairs) {
        if (panels == 2 && t.group_end - t.group_begin == 1) {
          K::multiply_pair(a, steps, w, acc, plane);
          continue;
        }
      }
      for (int p = 0; p < panels; ++p) {
        panel_ahead(ahead, g, panel + p, at, steps);
        if (two)
          K::template multiply<2, false>(a, steps, w[p], acc + p * plane, ahead);
        else if (t.group_end - t.group_begin > 1)
          K::template multiply<1, false>(a, steps, w[p], acc + p * plane, ahead);
        else
          K::template multiply<1, true>(a, steps, w[p], acc + p * plane, ahead);
      }
    }
  }
  // Row by row over the panels, whose outputs are neighbours.
  void write(int64_t panel, int panels, const float* sums) const {
    const int64_t column = panel * kPanel, width = t.n - column;
    for (int g = t.group_begin; g < t.group_end; ++g, sums += kTileRows * kPanel) {
      for (int r = 0; r < rows_of(g); ++r) {
        float* out = t.out + (group_row(t, g) + r) * t.out_stride + column;
        for (int64_t v = 0; v < panels * kPanel && v < width; v += 16) {
          const int lanes = width - v < 16 ? int(width - v) : 16;
          auto sum = Amx::load(sums + v / kPanel * plane + r * kPanel + v % kPanel);
          if (t.bias) sum = Amx::add(sum, Amx::load_n(t.bias + column + v, lanes));
          Amx::store_n(out + v, sum, lanes);
        }
      }
    }
  }
};

template <class K>
void linear_tiled(const LinearTask& t) {
  const int groups = t.group_end - t.group_begin, width = groups > 1 ? kTilePanels : K::kPairs ? 2 : 1;
  const int64_t all = K::steps(t.k, t.slices), per_slice = all / t.slices;
  const int64_t together = groups == 1 && !K::kUnpacks ? per_slice : K::kTogether;
  const TiledPanels<K> tiled{t, all, int64_t{groups} * kTileRows * kPanel,
                             reinterpret_cast<uint8_t*>(t.scratch + kLinearSumFloats)};
  Amx::begin_tiles(groups == 1 ? int(group_row(t, t.group_end) - group_row(t, t.group_begin)) : kTileRows);
  for (int64_t panel = t.panel_begin; panel < t.panel_end; panel += width) {
    const int64_t left = t.panel_end - panel;
    const int panels = left < width ? int(left) : width;
    SliceTree<Amx> tree{t.scratch, tiled.plane * panels};
    for (int s = 0; s < t.slices; ++s) {
      float* sums = tree.next();
      for (int64_t at = s * per_slice; at < (s + 1) * per_slice; at += together) {
        const int64_t steps = (s + 1) * per_slice - at;
        tiled.pass(panel, panels, at, steps < together ? steps : together, sums);
      }
      tree.done(s);
    }
    tiled.write(panel, panels, tree.root());
  }
  Amx::end_tiles();
}

}  // namespace
}  // namespace leadline::worker::cpu
