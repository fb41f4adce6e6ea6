#pragma once
// Device code of the ops on paged KV: rotate and write, attend, merge. One walk over a split of kSplitSlots
// slots serves prefill, decode and verification: the arithmetic of a query vector in a split does not depend
// on who shares the walk. (Method: FlashDecoding, Dao et al. 2023: splits are attended apart and joined by
// their log-sum-exps; here always at the same cuts and in ascending order, so that the bits do not depend on
// how the grid was cut, X1.)
//   1. A slot that a query does not see takes no part in its sums: a stale NaN in an unused slot reaches
//   nobody.
//   2. Splits stored apart and splits joined in the block go through the same join() in the same order.

#include "worker/backend/cuda/device_code.h"

namespace leadline::worker::cuda {

// Eight neighbouring elements of a page, and one rounded into it. `scaled` formats have a scale per (token,
// head).
struct FloatPage {
  static constexpr bool kScaled = false;
  static constexpr int kBytes = 4;
  LEADLINE_DEVICE static void load(const std::uint8_t* p, float* out) {
    for (int i = 0; i < 8; ++i) out[i] = reinterpret_cast<const float*>(p)[i];
  }
};
struct Bf16Page {
  static constexpr bool kScaled = false;
  static constexpr int kBytes = 2;
  LEADLINE_DEVICE static void load(const std::uint8_t* p, float* out) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = bits_to_float(words[i] << 16);
      out[2 * i + 1] = bits_to_float(words[i] & 0xffff0000u);
    }
  }
};
struct HalfPage {
  static constexpr bool kScaled = false;
  static constexpr int kBytes = 2;
  LEADLINE_DEVICE static void load(const std::uint8_t* p, float* out) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = from_f16(static_cast<std::uint16_t>(words[i] & 0xffffu));
      out[2 * i + 1] = from_f16(static_cast<std::uint16_t>(words[i] >> 16));
    }
  }
};
struct Int8Page {
  static constexpr bool kScaled = true;
  static constexpr int kBytes = 1;
  LEADLINE_DEVICE static void load(const std::uint8_t* p, float* out) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    for (int i = 0; i < 8; ++i)
      out[i] = static_cast<float>(static_cast<std::int8_t>((words[i / 4] >> (8 * (i % 4))) & 0xffu));
  }
};
struct Fp8Page {
  static constexpr bool kScaled = true;
  static constexpr int kBytes = 1;
  LEADLINE_DEVICE static void load(const std::uint8_t* p, float* out) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    for (int i = 0; i < 8; ++i)
      out[i] = from_fp8(static_cast<std::uint8_t>((words[i / 4] >> (8 * (i % 4))) & 0xffu));
  }
};

LEADLINE_DEVICE const SequenceWords& sequence_of(const StepImage& step, std::uint32_t index) {
  return reinterpret_cast<const SequenceWords*>(step.words)[index];
}

LEADLINE_DEVICE std::int64_t slots_before(const StepImage& step, const SequenceWords& s, std::int32_t head) {
  return s.lengths != kNone ? std::int64_t{step.words[s.lengths + static_cast<std::uint32_t>(head)]}
                            : std::int64_t{s.kv_before};
}

LEADLINE_DEVICE std::uint8_t* unit_of(const StepImage& step, const SequenceWords& s, const UnitPlace& kv,
                                      std::int32_t head, std::int64_t page) {
  const auto h = static_cast<std::uint32_t>(head);
  const std::uint32_t entry = step.words[s.table + h * s.head_stride + static_cast<std::uint32_t>(page)];
  return kv.pool + std::int64_t{entry * s.scale + s.base + step.base_shift + h * s.head_step} * kv.unit_bytes;
}

// Slots of `page` that exist, as an end offset within it.
LEADLINE_DEVICE int page_end(const StepImage& step, const SequenceWords& s, std::int32_t head,
                             std::int64_t page, std::int64_t before) {
  if (s.valid == kNone || before - page * kPageSlots < kPageSlots) return kPageSlots;
  const std::uint32_t at =
      static_cast<std::uint32_t>(head) * s.head_stride + static_cast<std::uint32_t>(page);
  return static_cast<int>((step.words[s.valid + at / 4] >> (8 * (at % 4))) & 0xffu);
}

LEADLINE_DEVICE const float* bias_of(const StepImage& step, const SequenceWords& s, std::int32_t head) {
  if (s.bias == kNone) return nullptr;
  const std::uint32_t at = s.bias + 2 * static_cast<std::uint32_t>(head);
  return reinterpret_cast<const float*>(
      static_cast<std::uintptr_t>(step.words[at] | (static_cast<std::uint64_t>(step.words[at + 1]) << 32)));
}

// A warp writes one slot of K or V: lanes over elements; scaled formats first find the largest magnitude.
LEADLINE_DEVICE void write_slot(const float* x, std::int32_t dim, std::int32_t format, std::uint8_t* to,
                                float* scale) {
  const int lane = thread_index() % 32;
  float inverse = 1.0f;
  if (format == kI8 || format == kFp8) {
    const float limit = format == kI8 ? 127.0f : 448.0f;
    float top = 0;
    for (int d = lane; d < dim; d += 32) top = larger(x[d] < 0 ? -x[d] : x[d], top);
    top = warp_max(top);
    if (lane == 0) *scale = top / limit;
    inverse = top > 0 ? limit / top : 0.0f;
  }
  for (int d = lane; d < dim; d += 32) {
    if (format == kF32)
      reinterpret_cast<float*>(to)[d] = x[d];
    else if (format == kBf16)
      reinterpret_cast<std::uint16_t*>(to)[d] = to_bf16(x[d]);
    else if (format == kF16)
      reinterpret_cast<std::uint16_t*>(to)[d] = to_f16(x[d]);
    else if (format == kI8)
      to[d] = static_cast<std::uint8_t>(static_cast<std::int32_t>(round_even(x[d] * inverse)));
    else
      to[d] = to_fp8(x[d] * inverse);
  }
}

LEADLINE_DEVICE int bytes_per_element(std::int32_t format) {
  return format == kF32 ? 4 : format == kI8 || format == kFp8 ? 1 : 2;
}

// A warp per (row, head); grid: x over rows, y over all heads / 4. Shared: (4, head_dim) floats for rotated
// keys.
LEADLINE_DEVICE void rope_write_kv(const RopeArgs& a) {
  const int lane = thread_index() % 32, head = block_y() * 4 + thread_index() / 32;
  const int dim = a.head_dim, half = dim / 2, rotated = a.query_heads + a.kv_heads;
  if (head >= rotated + a.kv_heads) return;
  const std::uint32_t owner = a.step.words[a.step.rows_at + static_cast<std::uint32_t>(block_x())];
  if (owner == kNone) return;
  const SequenceWords& s = sequence_of(a.step, owner);
  const std::int64_t in_sequence = block_x() - s.first_row;
  float* x =
      a.qkv + static_cast<std::int64_t>(block_x()) * a.qkv_stride + static_cast<std::int64_t>(head) * dim;
  float* key = shared_floats() + (thread_index() / 32) * dim;
  if (head < rotated) {
    const float* weight = head < a.query_heads ? a.q_norm : a.k_norm;
    float scale = 1.0f;
    if (weight != nullptr) {
      float squares = 0;
      for (int d = lane; d < dim; d += 32) squares = fused(x[d], x[d], squares);
      scale = reciprocal_root(warp_sum(squares) / static_cast<float>(dim) + a.eps);
    }
    const std::int64_t angle = (s.first_position + in_sequence) * half;
    for (int d = lane; d < half; d += 32) {
      const float low = weight != nullptr ? x[d] * scale * weight[d] : x[d];
      const float high = weight != nullptr ? x[d + half] * scale * weight[d + half] : x[d + half];
      const float c = a.cos[angle + d], n = a.sin[angle + d];
      const float new_low = fused(low, c, -(high * n)), new_high = fused(high, c, low * n);
      x[d] = new_low;
      x[d + half] = new_high;
      key[d] = new_low;
      key[d + half] = new_high;
    }
  }
  if (head < a.query_heads) return;
  const std::int32_t kv_head = head < rotated ? head - a.query_heads : head - rotated;
  const std::int64_t slot = slots_before(a.step, s, kv_head) + in_sequence;
  std::uint8_t* unit = unit_of(a.step, s, a.kv, kv_head, slot / kPageSlots);
  const std::int64_t at = slot % kPageSlots, row_bytes = std::int64_t{dim} * bytes_per_element(a.format);
  auto* scales = reinterpret_cast<float*>(unit + a.kv.scale_offset);
  if (head < rotated) {
    warp_barrier();
    write_slot(key, dim, a.format, unit + at * row_bytes, scales + at);
  } else {
    write_slot(x, dim, a.format, unit + a.kv.v_offset + at * row_bytes, scales + kPageSlots + at);
  }
}

// A query vector's sums over some splits: out = values / sum, relative to `top`.
struct WalkState {
  float top, sum;
};
// How two states are joined: what to multiply each with. A split that saw nothing changes nothing.
LEADLINE_DEVICE bool join(WalkState& state, WalkState split, float& keep, float& take) {
  if (split.top == minus_infinity()) return false;
  const float top = larger(state.top, split.top);
  keep = exponential(state.top - top);
  take = exponential(split.top - top);
  state.sum = fused(split.sum, take, state.sum * keep);
  state.top = top;
  return true;
}

// What the vectors of a tile see.
struct TileView {
  std::int32_t kv_head, row, heads, vectors, window, first_head;
  std::int64_t before;
  LEADLINE_DEVICE std::int64_t last(int vector) const { return before + row + vector / heads; }
  LEADLINE_DEVICE std::int64_t first(int vector) const {
    const std::int64_t from = window > 0 ? last(vector) - window + 1 : 0;
    return from > 0 ? from : 0;
  }
};

// Shared memory of one block, in floats.
template <int kVectors>
struct WalkMemory {
  float *q, *scores, *partial, *values, *tops, *sums;
  LEADLINE_DEVICE WalkMemory(float* base, int dim, int groups) {
    q = base;
    scores = q + kVectors * dim;
    partial = scores + kVectors * kSplitSlots;
    values = partial + groups * kVectors * dim;
    tops = values + kVectors * dim;
    sums = tops + kVectors;
  }
};

// Threads that share a column stretch of 8 in the sum over values: a power of two, from head_dim alone.
LEADLINE_DEVICE int value_groups(int dim) {
  int groups = 1;
  while (groups < 16 && groups * 2 * (dim / 8) <= kAttentionThreads) groups *= 2;
  return groups;
}

// scores[v][slot] = q_v . k_slot: eight lanes a slot, each its stretches of 8 in order, then a butterfly.
template <class Page, int kVectors>
LEADLINE_DEVICE void walk_scores(const AttentionArgs& a, const SequenceWords& s, const TileView& view,
                                 WalkMemory<kVectors>& m, std::int64_t begin, std::int64_t end) {
  const int part = thread_index() % 8, dim = a.head_dim;
  const std::int64_t origin = begin / kSplitSlots * kSplitSlots;
  for (std::int64_t base = begin / kPageSlots * kPageSlots; base < end; base += kAttentionThreads / 8) {
    const std::int64_t slot = base + thread_index() / 8;
    const bool there = slot < end;
    float sums[kVectors];
    for (int v = 0; v < kVectors; ++v) sums[v] = 0;
    float scale = 1.0f;
    if (there) {
      const std::uint8_t* unit = unit_of(a.step, s, a.kv, view.kv_head, slot / kPageSlots);
      const std::uint8_t* key = unit + (slot % kPageSlots) * dim * Page::kBytes;
      if (Page::kScaled) scale = reinterpret_cast<const float*>(unit + a.kv.scale_offset)[slot % kPageSlots];
      for (int c = part * 8; c < dim; c += 64) {
        float k[8];
        Page::load(key + c * Page::kBytes, k);
        for (int v = 0; v < kVectors; ++v)
          for (int i = 0; i < 8; ++i) sums[v] = fused(m.q[v * dim + c + i], k[i], sums[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      float x = sums[v];
      x += shuffle_xor(x, 4);
      x += shuffle_xor(x, 2);
      x += shuffle_xor(x, 1);
      if (there && part == 0) m.scores[v * kSplitSlots + (slot - origin)] = Page::kScaled ? x * scale : x;
    }
  }
  block_barrier();
}

// Scores to weights relative to the split's maximum; -1 marks slots that the vector does not see. A warp per
// vector.
template <int kVectors>
LEADLINE_DEVICE void walk_softmax(const AttentionArgs& a, const SequenceWords& s, const TileView& view,
                                  WalkMemory<kVectors>& m, std::int64_t origin) {
  const int lane = thread_index() % 32;
  const float* bias = bias_of(a.step, s, view.kv_head);
  for (int v = thread_index() / 32; v < kVectors; v += kAttentionThreads / 32) {
    float* row = m.scores + v * kSplitSlots;
    const std::int64_t first = view.first(v), last = view.last(v);
    float x[kSplitSlots / 32];
    unsigned seen = 0;
    float top = minus_infinity();
    for (int i = 0; i < kSplitSlots / 32; ++i) {
      const std::int64_t slot = origin + i * 32 + lane;
      x[i] = minus_infinity();
      if (v >= view.vectors || slot < first || slot > last) continue;
      const std::int64_t page = slot / kPageSlots;
      if (slot % kPageSlots >= page_end(a.step, s, view.kv_head, page, view.before)) continue;
      x[i] = fused(row[slot - origin], a.scale, bias != nullptr && slot < view.before ? bias[slot] : 0.0f);
      seen |= 1u << i;
      top = larger(x[i], top);
    }
    top = warp_max(top);
    float sum = 0;
    for (int i = 0; i < kSplitSlots / 32; ++i) {
      const bool counts = (seen >> i & 1u) != 0 && top != minus_infinity();
      const float p = counts ? exponential(x[i] - top) : -1.0f;
      row[i * 32 + lane] = p;
      if (counts) sum += p;
    }
    sum = warp_sum(sum);
    if (lane == 0) m.tops[v] = top, m.sums[v] = sum;
  }
  block_barrier();
}

// values[v][d] = sum of p V over the split: threads own 8 columns and every groups-th slot; groups join in
// order.
template <class Page, int kVectors>
LEADLINE_DEVICE void walk_values(const AttentionArgs& a, const SequenceWords& s, const TileView& view,
                                 WalkMemory<kVectors>& m, std::int64_t begin, std::int64_t end) {
  const int dim = a.head_dim, stretches = dim / 8, groups = value_groups(dim);
  const int group = thread_index() / stretches, c = thread_index() % stretches * 8;
  const std::int64_t origin = begin / kSplitSlots * kSplitSlots;
  if (group < groups) {
    float sums[kVectors][8];
    for (int v = 0; v < kVectors; ++v)
      for (int i = 0; i < 8; ++i) sums[v][i] = 0;
    for (std::int64_t slot = origin + group; slot < end; slot += groups) {
      if (slot < begin) continue;
      const std::uint8_t* unit = unit_of(a.step, s, a.kv, view.kv_head, slot / kPageSlots);
      const int at = static_cast<int>(slot % kPageSlots);
      float value[8];
      Page::load(unit + a.kv.v_offset + (at * dim + c) * Page::kBytes, value);
      const float scale =
          Page::kScaled ? reinterpret_cast<const float*>(unit + a.kv.scale_offset)[kPageSlots + at] : 1.0f;
      for (int v = 0; v < kVectors; ++v) {
        float p = m.scores[v * kSplitSlots + (slot - origin)];
        if (p < 0) continue;  // not seen; a NaN goes on
        if (Page::kScaled) p *= scale;
        for (int i = 0; i < 8; ++i) sums[v][i] = fused(p, value[i], sums[v][i]);
      }
    }
    for (int v = 0; v < kVectors; ++v)
      for (int i = 0; i < 8; ++i) m.partial[(group * kVectors + v) * dim + c + i] = sums[v][i];
  }
  block_barrier();
}

// Adds the split that lies in `m` to the tile's states: into the block's values, or to where the merge reads
// it.
template <int kVectors>
LEADLINE_DEVICE void walk_join(const AttentionArgs& a, const SequenceWords& s, const TileView& view,
                               WalkMemory<kVectors>& m, WalkState* states, std::int64_t stored_split) {
  const int dim = a.head_dim, groups = value_groups(dim);
  for (int v = 0; v < view.vectors; ++v) {
    const WalkState split{m.tops[v], m.sums[v]};
    float keep = 0, take = 0;
    const bool counts = stored_split < 0 && join(states[v], split, keep, take);
    float* stored = nullptr;
    if (stored_split >= 0) {
      const std::int64_t row = s.first_row + view.row + v / view.heads,
                         head = view.first_head + v % view.heads;
      stored = a.states + ((row * a.query_heads + head) * a.max_splits + stored_split) * (dim + 2);
      if (thread_index() == 0) stored[0] = split.top, stored[1] = split.sum;
    }
    for (int d = thread_index(); d < dim; d += kAttentionThreads) {
      float sum = 0;
      for (int g = 0; g < groups; ++g) sum += m.partial[(g * kVectors + v) * dim + d];
      if (stored != nullptr)
        stored[2 + d] = sum;
      else if (counts)
        m.values[v * dim + d] = fused(sum, take, m.values[v * dim + d] * keep);
    }
  }
  block_barrier();
}

LEADLINE_DEVICE void write_lse(float* lse, std::int64_t at, WalkState state) {
  if (lse != nullptr) lse[at] = state.sum > 0 ? state.top + logarithm(state.sum) : minus_infinity();
}

// Grid: x over tiles, y over KV heads, z over splits (stored apart) or 1 (joined here).
template <class Page, int kVectors>
LEADLINE_DEVICE void attention_walk(const AttentionArgs& a) {
  const TileWords tile = reinterpret_cast<const TileWords*>(a.step.words + a.step.tiles_at)[block_x()];
  if (tile.rows == 0) return;  // padding of a recorded step
  const SequenceWords& s = sequence_of(a.step, static_cast<std::uint32_t>(tile.sequence));
  const int dim = a.head_dim;
  TileView view{block_y(), tile.row, tile.heads, tile.rows * tile.heads, a.window, 0, 0};
  view.before = slots_before(a.step, s, view.kv_head);
  view.first_head = view.kv_head * (a.query_heads / a.kv_heads) + tile.head;
  WalkMemory<kVectors> m(shared_floats(), dim, value_groups(dim));
  WalkState states[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    states[v] = {minus_infinity(), 0.0f};
    for (int d = thread_index(); d < dim; d += kAttentionThreads) {
      const std::int64_t row = s.first_row + tile.row + v / tile.heads,
                         head = view.first_head + v % tile.heads;
      m.q[v * dim + d] = v < view.vectors ? a.qkv[row * a.qkv_stride + head * dim + d] : 0.0f;
      m.values[v * dim + d] = 0.0f;
    }
  }
  block_barrier();
  const std::int64_t low = view.first(0), high = view.last(view.vectors - 1) + 1;
  const bool stores = a.states != nullptr;
  std::int64_t split = stores ? block_z() : low / kSplitSlots;
  const std::int64_t stop = stores ? block_z() + 1 : (high + kSplitSlots - 1) / kSplitSlots;
  for (; split < stop; ++split) {
    std::int64_t begin = split * kSplitSlots, end = begin + kSplitSlots;
    if (begin < low) begin = low;
    if (end > high) end = high;
    if (begin >= end) continue;
    walk_scores<Page, kVectors>(a, s, view, m, begin, end);
    walk_softmax<kVectors>(a, s, view, m, split * kSplitSlots);
    walk_values<Page, kVectors>(a, s, view, m, begin, end);
    walk_join<kVectors>(a, s, view, m, states, stores ? split : -1);
  }
  if (stores) return;
  for (int v = 0; v < view.vectors; ++v) {
    const std::int64_t row = s.first_row + tile.row + v / tile.heads, head = view.first_head + v % tile.heads;
    const float divisor = states[v].sum > 0 ? states[v].sum : 1.0f;
    for (int d = thread_index(); d < dim; d += kAttentionThreads)
      a.out[row * a.out_stride + head * dim + d] = m.values[v * dim + d] / divisor;
    if (thread_index() == 0) write_lse(a.lse, row * a.query_heads + head, states[v]);
  }
}

// Joins stored splits in ascending order. Grid: x over rows, y over query heads.
LEADLINE_DEVICE void attention_merge(const MergeArgs& a) {
  const std::int64_t row = block_x(), head = block_y();
  const std::uint32_t owner = a.step.words[a.step.rows_at + static_cast<std::uint32_t>(row)];
  if (owner == kNone) return;
  const SequenceWords& s = sequence_of(a.step, owner);
  const auto kv_head = static_cast<std::int32_t>(head / (a.query_heads / a.kv_heads));
  TileView view{kv_head, static_cast<std::int32_t>(row - s.first_row), 1, 1, a.window, 0, 0};
  view.before = slots_before(a.step, s, kv_head);
  const std::int64_t begin = view.first(0) / kSplitSlots, end = view.last(0) / kSplitSlots + 1;
  const float* stored = a.states + (row * a.query_heads + head) * a.max_splits * (a.head_dim + 2);
  for (int d = thread_index(); d < a.head_dim; d += kAttentionThreads) {
    WalkState state{minus_infinity(), 0.0f};
    float value = 0;
    for (std::int64_t split = begin; split < end; ++split) {
      const float* part = stored + split * (a.head_dim + 2);
      float keep, take;
      if (join(state, {part[0], part[1]}, keep, take)) value = fused(part[2 + d], take, value * keep);
    }
    a.out[row * a.out_stride + head * a.head_dim + d] = value / (state.sum > 0 ? state.sum : 1.0f);
    if (d == 0) write_lse(a.lse, row * a.query_heads + head, state);
  }
}

}  // namespace leadline::worker::cuda
