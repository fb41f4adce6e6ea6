#pragma once
// Attention of a few query vectors over paged KV, over a per-ISA vector type V of 16 lanes = the slots of a
// page. Not the choice of splits per thread. Included by the kernel translation units; unnamed namespace on
// purpose. Invariants (exactness X1):
//   1. KV is cut at multiples of kSplitSlots from slot 0. Within a split: scores, one maximum, exponentials,
//   sums in slot order;
//      splits are joined in ascending order. None of it depends on which other queries share the walk.
//   2. A slot that a query does not see takes no part in its sums, so a stale NaN in an unused slot reaches
//   nobody.

#include <stdint.h>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/elementwise_impl.h"

namespace leadline::worker::cpu {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

struct SlotRange {
  int64_t begin, end;  // empty if begin >= end
};
static inline SlotRange intersect(SlotRange a, SlotRange b) {
  return {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
}

// One call's scratch: q transposed, scores of a split, one split's state; what matrix tiles take besides.
struct TileScratch {
  float* q;                                                                   // (padded_dim, vectors)
  float* scores;                                                              // (vectors, kSplitSlots)
  float* values;                                                              // (vectors, padded_dim)
  uint8_t *tile_rows, *tile_weights, *tile_keys, *tile_values, *tile_copies;  // attention_tiles_impl.h
  float* tile_sums;
  SlotRange seen[kAttentionTile];  // of the split at hand, absolute slots
  float maximum[kAttentionTile], sum[kAttentionTile];
};

static inline const uint8_t* unit_of(const AttentionTask& t, int64_t page) {
  const uint32_t unit = t.table[page] * t.unit_scale + t.unit_base;
  return t.pool + unit_place(unit, t.per_page) * t.layout.unit_bytes;
}
// int8 pages: a unit's scales of K, then of V.
static inline const float* scales_of(const AttentionTask& t, const uint8_t* unit) {
  return reinterpret_cast<const float*>(unit + t.layout.scale_offset);
}

static inline const float* query_of(const AttentionTask& t, int j) {
  return t.q + (j / t.heads) * t.q_stride + int64_t{j % t.heads} * t.layout.head_dim;
}

// Slots of `page` that exist, as an end offset within it.
static inline int page_end(const AttentionTask& t, int64_t page) {
  if (!t.valid) return kPageSlots;
  const int64_t first = page * kPageSlots;
  if (first >= t.before) return kPageSlots;
  return t.before - first >= kPageSlots ? int(t.valid[page]) : kPageSlots;
}

// scores[j][0..16) = q_j . K of one page, one chain over head_dim per slot.
template <class V, int kFormat, int kVectors>
void page_scores(const float* q, int q_stride, int head_dim, const void* keys, float* scores) {
  using S = Stored<V, kFormat>;
  const auto* k = static_cast<const typename S::T*>(keys);
  typename V::F sums[kVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) sums[j] = V::zero();
  for (int d = 0; d < head_dim; ++d) {
    const typename V::F key = S::load(k + d * kPageSlots);
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) sums[j] = V::fma(V::set1(q[d * q_stride + j]), key, sums[j]);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) V::store(scores + j * kSplitSlots, sums[j]);
}

template <class V, int kFormat, int kMax, int kVectors = 1>
static inline void page_scores_of(int vectors, const float* q, int stride, int head_dim, const void* keys,
                                  float* scores) {
  if constexpr (kVectors < kMax) {
    if (vectors != kVectors)
      return page_scores_of<V, kFormat, kMax, kVectors + 1>(vectors, q, stride, head_dim, keys, scores);
  }
  page_scores<V, kFormat, kVectors>(q, stride, head_dim, keys, scores);
}

template <class V, int kFormat>
void split_scores(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
  const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
  for (int64_t page = span.begin / kPageSlots; page * kPageSlots < span.end; ++page) {
    const uint8_t* unit = unit_of(t, page);
    float* out = s.scores + (page * kPageSlots - origin);
    for (int j = 0; j < vectors; j += V::kScoreRows) {
      const int count = vectors - j < V::kScoreRows ? vectors - j : V::kScoreRows;
      page_scores_of<V, kFormat, V::kScoreRows>(count, s.q + j, vectors, t.layout.head_dim, unit,
                                                out + j * kSplitSlots);
    }
    if constexpr (kFormat == kI8) {
      const auto scales = V::load(scales_of(t, unit));
      for (int j = 0; j < vectors; ++j)
        V::store(out + j * kSplitSlots, V::mul(V::load(out + j * kSplitSlots), scales));
    }
  }
}

// Bias of the 16 slots of a page; slots written by this step have none.
template <class V>
static inline typename V::F page_bias(const AttentionTask& t, int64_t first) {
  const int64_t left = t.before - first;
  if (!t.bias || left <= 0) return V::zero();
  return V::load_n(t.bias + first, left < kPageSlots ? int(left) : kPageSlots);
}

// Scores of one query vector to probabilities relative to the split's maximum.
template <class V>
void split_softmax(const AttentionTask& t, TileScratch& s, int j) {
  const SlotRange seen = s.seen[j];
  const int64_t origin = seen.begin / kSplitSlots * kSplitSlots;
  float* row = s.scores + j * kSplitSlots - origin;
  s.maximum[j] = kMinusInfinity;
  s.sum[j] = 0;
  if (seen.begin >= seen.end) return;
  const auto scale = V::set1(t.scale), outside = V::set1(kMinusInfinity);
  auto highest = outside;
  const int64_t first_page = seen.begin / kPageSlots, last_page = (seen.end - 1) / kPageSlots;
  for (int64_t page = first_page; page <= last_page; ++page) {
    const int64_t first = page * kPageSlots;
    const int lo = seen.begin > first ? int(seen.begin - first) : 0;
    const int64_t left = seen.end - first;
    const int stop = page_end(t, page), hi = left < stop ? int(left) : stop;
    auto x = V::fma(V::load(row + first), scale, page_bias<V>(t, first));
    x = V::keep_range(x, lo, hi, outside);
    highest = V::max(x, highest);
    V::store(row + first, x);
  }
  const float top = V::max_of(highest);
  s.maximum[j] = top;
  if (top == kMinusInfinity) return;
  const auto shift = V::set1(top);
  auto total = V::zero();
  for (int64_t page = first_page; page <= last_page; ++page) {
    const auto p = exp_of<V>(V::sub(V::load(row + page * kPageSlots), shift));
    V::store(row + page * kPageSlots, p);
    total = V::add(total, p);
  }
  s.sum[j] = V::sum(total);
}

// values[j] += p_j[slot] * V[slot] over the existing slots of `range`, ascending, for kRows query vectors
// from j on.
template <class V, int kFormat, int kRows, int kVectors>
void add_values(const AttentionTask& t, TileScratch& s, int j, int column, SlotRange range) {
  using S = Stored<V, kFormat>;
  if (range.begin >= range.end) return;
  const int64_t origin = range.begin / kSplitSlots * kSplitSlots, width = t.layout.padded_dim;
  float* values = s.values + j * width + column;
  const float* scores = s.scores + j * kSplitSlots - origin;
  typename V::F sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::load(values + r * width + v * 16);
  for (int64_t page = range.begin / kPageSlots; page * kPageSlots < range.end; ++page) {
    const int64_t first = page * kPageSlots;
    const SlotRange slots = intersect(range, {first, first + page_end(t, page)});
    const auto* base = reinterpret_cast<const typename S::T*>(unit_of(t, page) + t.layout.v_offset) + column;
    for (int64_t slot = slots.begin; slot < slots.end; ++slot) {
      const auto* p = base + (slot - first) * width;
      typename V::F value[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) value[v] = S::load(p + v * 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const typename V::F weight = V::set1(scores[r * kSplitSlots + slot]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(weight, value[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(values + r * width + v * 16, sums[r][v]);
}

// int8 pages: a value's weight is its probability times its scale.
template <class V>
void scale_weights(const AttentionTask& t, TileScratch& s, int j) {
  const SlotRange seen = s.seen[j];
  float* row = s.scores + j * kSplitSlots - seen.begin / kSplitSlots * kSplitSlots;
  for (int64_t page = seen.begin / kPageSlots; page * kPageSlots < seen.end; ++page) {
    float* p = row + page * kPageSlots;
    V::store(p, V::mul(V::load(p), V::load(scales_of(t, unit_of(t, page)) + kPageSlots)));
  }
}

// Query vectors j .. j + kRows: what all of them see is walked once, the ragged ends one by one, each in slot
// order.
template <class V, int kFormat, int kRows, int kVectors>
void add_values_block(const AttentionTask& t, TileScratch& s, int j, int column) {
  SlotRange all = s.seen[j];
  for (int r = 1; r < kRows; ++r) all = intersect(all, s.seen[j + r]);
  if (kRows == 1 || all.begin >= all.end) {
    for (int r = 0; r < kRows; ++r) add_values<V, kFormat, 1, kVectors>(t, s, j + r, column, s.seen[j + r]);
    return;
  }
  for (int r = 0; r < kRows; ++r)
    add_values<V, kFormat, 1, kVectors>(t, s, j + r, column, {s.seen[j + r].begin, all.begin});
  add_values<V, kFormat, kRows, kVectors>(t, s, j, column, all);
  for (int r = 0; r < kRows; ++r)
    add_values<V, kFormat, 1, kVectors>(t, s, j + r, column, {all.end, s.seen[j + r].end});
}

template <class V, int kFormat, int kVectors, int kRows>
static inline void add_values_rows(const AttentionTask& t, TileScratch& s, int rows, int j, int column) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return add_values_rows<V, kFormat, kVectors, kRows - 1>(t, s, rows, j, column);
  }
  add_values_block<V, kFormat, kRows, kVectors>(t, s, j, column);
}

template <class V, int kFormat, int kVectors>
static inline void add_values_columns(const AttentionTask& t, TileScratch& s, int vectors, int column) {
  const int blocks = (vectors + V::kValueRows - 1) / V::kValueRows;
  for (int b = 0; b < blocks; ++b) {
    const int j = vectors * b / blocks;
    add_values_rows<V, kFormat, kVectors, V::kValueRows>(t, s, vectors * (b + 1) / blocks - j, j, column);
  }
}

template <class V>
void attention_merge(float* state, const float* split, int padded_dim) {
  const float a = state[0], b = split[0];
  if (b == kMinusInfinity) return;
  const float top = a > b ? a : b;
  const auto keep = exp_of<V>(V::set1(a - top)), take = exp_of<V>(V::set1(b - top));
  float sums[16];
  V::store(sums, V::fma(V::set1(split[1]), take, V::mul(V::set1(state[1]), keep)));
  state[0] = top;
  state[1] = sums[0];
  for (int i = 0; i < padded_dim; i += 16) {
    float* p = state + 16 + i;
    V::store(p, V::fma(V::load(split + 16 + i), take, V::mul(V::load(p), keep)));
  }
}

// The walk over pages by vectors: the weights of one split with their maxima and sums, and its values.
template <class V, int kFormat>
struct VectorWalk {
  using Lanes = V;
  static void begin(const AttentionTask& t, TileScratch& s, int vectors) {
    for (int j = 0; j < vectors; ++j) {
      const float* q = query_of(t, j);
      for (int d = 0; d < t.layout.head_dim; ++d) s.q[d * vectors + j] = q[d];
    }
  }
  static void end() {}
  // Splits from `split` on that are walked together, if any: the first after them.
  static int64_t walk_many(const AttentionTask&, TileScratch&, int, int64_t split) { return split; }
  static void scores(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    split_scores<V, kFormat>(t, s, vectors, span);
    for (int j = 0; j < vectors; ++j) split_softmax<V>(t, s, j);
  }
  static void values(const AttentionTask& t, TileScratch& s, int vectors, SlotRange) {
    const int padded = t.layout.padded_dim;
    if constexpr (kFormat == kI8) {
      for (int j = 0; j < vectors; ++j)
        if (s.seen[j].begin < s.seen[j].end) scale_weights<V>(t, s, j);
    }
    for (int i = 0; i < vectors * padded; i += 16) V::store(s.values + i, V::zero());
    int column = 0;
    for (; column + V::kValueVectors * 16 <= padded; column += V::kValueVectors * 16)
      add_values_columns<V, kFormat, V::kValueVectors>(t, s, vectors, column);
    for (; column < padded; column += 16) add_values_columns<V, kFormat, 1>(t, s, vectors, column);
  }
};

template <class Walk>
void attention_split(const AttentionTask& t, TileScratch& s, int64_t split) {
  using V = typename Walk::Lanes;
  const int vectors = t.rows * t.heads, padded = t.layout.padded_dim;
  SlotRange span{INT64_MAX, 0};
  for (int j = 0; j < vectors; ++j) {
    const int64_t last = t.before + t.first + j / t.heads;
    const int64_t from = t.window > 0 && last - t.window + 1 > 0 ? last - t.window + 1 : 0;
    s.seen[j] = intersect({from, last + 1}, {split * kSplitSlots, (split + 1) * kSplitSlots});
    if (s.seen[j].begin >= s.seen[j].end) continue;
    if (s.seen[j].begin < span.begin) span.begin = s.seen[j].begin;
    if (s.seen[j].end > span.end) span.end = s.seen[j].end;
  }
  if (span.begin >= span.end) return;
  Walk::scores(t, s, vectors, span);
  Walk::values(t, s, vectors, span);
  for (int j = 0; j < vectors; ++j) {
    float one[16 + 1024];
    one[0] = s.maximum[j];
    one[1] = s.sum[j];
    for (int i = 0; i < padded; i += 16) V::store(one + 16 + i, V::load(s.values + j * padded + i));
    attention_merge<V>(t.state + j * attention_state_floats(padded), one, padded);
  }
}

// Bytes of the tiles' scratch, one after the other.
static inline void place_tile_scratch(int padded, uint8_t* at, TileScratch& s) {
  const int64_t steps = (padded + kBf16Step - 1) / kBf16Step;
  s.tile_rows = at;
  s.tile_weights = s.tile_rows + steps * 2 * kAttentionTile * kBf16StepBytes;
  s.tile_keys = s.tile_weights + int64_t{kSplitSlots} * kAttentionTile * 4;
  s.tile_values = s.tile_keys + steps * 4096;
  s.tile_sums = reinterpret_cast<float*>(s.tile_values + 8192);
  s.tile_copies = s.tile_values + 8192 + 4096;  // (kSplitSlots, padded) of 2 bytes
}

template <class Walk>
void attention_as(const AttentionTask& t) {
  using V = typename Walk::Lanes;
  const int vectors = t.rows * t.heads, padded = t.layout.padded_dim;
  TileScratch s;
  s.q = t.scratch;
  s.scores = s.q + int64_t{kAttentionTile} * padded;
  s.values = s.scores + int64_t{kAttentionTile} * kSplitSlots;
  place_tile_scratch(padded, reinterpret_cast<uint8_t*>(s.values + int64_t{kAttentionTile} * padded), s);
  for (int j = 0; j < vectors; ++j) {
    float* state = t.state + j * attention_state_floats(padded);
    for (int i = 0; i < 16 + padded; i += 16) V::store(state + i, V::zero());
    state[0] = kMinusInfinity;
  }
  Walk::begin(t, s, vectors);
  for (int64_t split = t.split_begin; split < t.split_end;) {
    const int64_t done = Walk::walk_many(t, s, vectors, split);
    if (done == split)
      attention_split<Walk>(t, s, split++);
    else
      split = done;
  }
  Walk::end();
}

template <class V>
void attention(const AttentionTask& t) {
  if (t.layout.format == kF32) return attention_as<VectorWalk<V, kF32>>(t);
  if (t.layout.format == kBf16) return attention_as<VectorWalk<V, kBf16>>(t);
  if (t.layout.format == kI8) return attention_as<VectorWalk<V, kI8>>(t);
  attention_as<VectorWalk<V, kF16>>(t);
}

template <class V>
void attention_finish(const float* state, int head_dim, float* out, float* lse) {
  const float sum = state[1];
  const auto divisor = V::set1(sum > 0 ? sum : 1.0f);
  for (int i = 0; i < head_dim; i += 16) {
    const int lanes = head_dim - i < 16 ? head_dim - i : 16;
    V::store_n(out + i, V::div(V::load(state + 16 + i), divisor), lanes);
  }
  if (lse) *lse = sum > 0 ? state[0] + __builtin_logf(sum) : kMinusInfinity;
}

}  // namespace
}  // namespace leadline::worker::cpu
