#pragma once
// Device code of attention over prompt rows on the matrix units: 64 query vectors of one KV head walk its
// slots together, 32 at a time. (Method: FlashAttention-2, Dao 2023, algorithm 1, over paged KV: running
// maximum, sums rescaled.) Not decode or verification rows, not f32 and f16 pages, not other head sizes:
// those take attention_walk; this is the prefill class's arithmetic.
//   1. K and V are bf16 as they lie in the pages (8-bit pages widen exactly; their scales follow in f32).
//   Queries
//      and weights go in as two bf16 parts each, so they keep 16 bits: x = high + low, |rest| <= 2^-17 |x|.
//   2. Slots are cut at multiples of 32 and joined in ascending order; a slot that a vector does not see adds
//   an
//      exact zero: its bits do not depend on who shares the tile (X1).
//   3. A value that is not a number reaches only those who see its slot: it is kept out of the products and
//   added
//      after them.

#include "worker/backend/cuda/kv_kernels.h"

namespace leadline::worker::cuda {

// Loops over what a thread keeps in registers.
#if defined(__CUDACC__)
#define LEADLINE_UNROLL _Pragma("unroll")
#else
#define LEADLINE_UNROLL
#endif

constexpr int kPrefillPad = 8;  // elements behind each row of shared memory, against conflicts of banks

template <int kDim>
struct PrefillMemory {
  static constexpr int kRow = kDim + kPrefillPad, kColumn = kPrefillSlots + kPrefillPad;
  std::uint16_t *q_high, *q_low;  // (64 vectors, kRow)
  std::uint16_t* k;               // (32 slots, kRow)
  std::uint16_t* v;               // (kDim, kColumn): slots of a dimension lie together
  float *k_scale, *v_scale;       // (32 slots)
  int* spoiled;                   // the block's first slot + 1 if one of its values is not finite
  LEADLINE_DEVICE explicit PrefillMemory(float* base) {
    q_high = reinterpret_cast<std::uint16_t*>(base);
    q_low = q_high + kPrefillVectors * kRow;
    k = q_low + kPrefillVectors * kRow;
    v = k + kPrefillSlots * kRow;
    k_scale = reinterpret_cast<float*>(v + kDim * kColumn);
    v_scale = k_scale + kPrefillSlots;
    spoiled = reinterpret_cast<int*>(v_scale + kPrefillSlots);
  }
};

LEADLINE_DEVICE bool is_finite(float x) {
  return (float_to_bits(x) & 0x7f800000u) != 0x7f800000u;
}

LEADLINE_DEVICE std::uint32_t pair_of(std::uint16_t low, std::uint16_t high) {
  return low | (static_cast<std::uint32_t>(high) << 16);
}
LEADLINE_DEVICE std::uint32_t pair_at(const std::uint16_t* p) {
  return *reinterpret_cast<const std::uint32_t*>(p);
}

// Two neighbouring values as pairs of their high and of their low parts.
LEADLINE_DEVICE void split_pair(float a, float b, std::uint32_t& high, std::uint32_t& low) {
  const std::uint16_t ha = to_bf16(a), hb = to_bf16(b);
  high = pair_of(ha, hb);
  low = pair_of(is_finite(from_bf16(ha)) ? to_bf16(a - from_bf16(ha)) : 0,
                is_finite(from_bf16(hb)) ? to_bf16(b - from_bf16(hb)) : 0);
}

// What one block of threads works on.
struct PrefillPart {
  const AttentionArgs& a;
  const SequenceWords& s;
  const TileView& view;
};

template <int kDim>
LEADLINE_DEVICE void load_queries(const PrefillPart& part, PrefillMemory<kDim>& m) {
  const auto& [a, s, view] = part;
  for (int i = thread_index(); i < kPrefillVectors * kDim / 2; i += kAttentionThreads) {
    const int v = i / (kDim / 2), d = i % (kDim / 2) * 2;
    float x[2] = {0.0f, 0.0f};
    if (v < view.vectors) {
      const std::int64_t row = s.first_row + view.row + v / view.heads,
                         head = view.first_head + v % view.heads;
      const float* q = a.qkv + row * a.qkv_stride + head * kDim + d;
      x[0] = q[0], x[1] = q[1];
    }
    split_pair(x[0], x[1], *reinterpret_cast<std::uint32_t*>(m.q_high + v * m.kRow + d),
               *reinterpret_cast<std::uint32_t*>(m.q_low + v * m.kRow + d));
  }
}

// Slots [begin, begin + 32) of one KV head; those at and above `end` are zeros.
template <class Page, int kDim>
LEADLINE_DEVICE void load_block(const PrefillPart& part, PrefillMemory<kDim>& m, std::int64_t begin,
                                std::int64_t end) {
  const auto& [a, s, view] = part;
  for (int i = thread_index(); i < kPrefillSlots * (kDim / 8); i += kAttentionThreads) {
    const int at = i / (kDim / 8), c = i % (kDim / 8) * 8;
    const std::int64_t slot = begin + at;
    float k[8], v[8];
    for (int j = 0; j < 8; ++j) k[j] = v[j] = 0.0f;
    float k_scale = 0.0f, v_scale = 0.0f;
    if (slot < end) {
      const std::uint8_t* unit = unit_of(a.step, s, a.kv, view.kv_head, slot / kPageSlots);
      const int in_page = static_cast<int>(slot % kPageSlots);
      const std::int64_t offset = (static_cast<std::int64_t>(in_page) * kDim + c) * Page::kBytes;
      Page::load(unit + offset, k);
      Page::load(unit + a.kv.v_offset + offset, v);
      if (Page::kScaled) {
        const auto* scales = reinterpret_cast<const float*>(unit + a.kv.scale_offset);
        k_scale = scales[in_page];
        v_scale = scales[kPageSlots + in_page];
      }
    }
    bool spoils = Page::kScaled && !is_finite(v_scale);
    for (int j = 0; j < 8; ++j) {
      m.k[at * m.kRow + c + j] = to_bf16(k[j]);
      spoils = spoils || !is_finite(v[j]);
      m.v[(c + j) * m.kColumn + at] = is_finite(v[j]) ? to_bf16(v[j]) : 0;
    }
    if (spoils) *m.spoiled = static_cast<int>(begin) + 1;
    if (c == 0) m.k_scale[at] = k_scale, m.v_scale[at] = is_finite(v_scale) ? v_scale : 0.0f;
  }
}

// One of the two vectors whose sums a thread shares with three others.
struct PrefillVector {
  bool there;
  std::int64_t first, last;
  float top, sum;  // `sum`: of this thread's columns
};

LEADLINE_DEVICE bool sees(const PrefillPart& part, const PrefillVector& v, std::int64_t slot) {
  const auto& [a, s, view] = part;
  return v.there && slot >= v.first && slot <= v.last &&
         slot % kPageSlots < page_end(a.step, s, view.kv_head, slot / kPageSlots, view.before);
}

// scores[n][i] = q . k for the warp's 16 vectors and the block's slots.
template <int kDim>
LEADLINE_DEVICE void block_scores(const PrefillMemory<kDim>& m, float (&scores)[kPrefillSlots / 8][4]) {
  const int lane = thread_index() % 32, g = lane / 4, t = lane % 4 * 2;
  const int row = thread_index() / 32 * 16 + g;
  for (int d = 0; d < kDim; d += 16) {
    std::uint32_t high[4], low[4];
    LEADLINE_UNROLL
    for (int i = 0; i < 4; ++i) {  // rows g and g + 8, columns 2t and 2t + 8
      const int at = (row + i % 2 * 8) * m.kRow + d + t + i / 2 * 8;
      high[i] = pair_at(m.q_high + at);
      low[i] = pair_at(m.q_low + at);
    }
    LEADLINE_UNROLL
    for (int n = 0; n < kPrefillSlots / 8; ++n) {
      const std::uint16_t* k = m.k + (n * 8 + g) * m.kRow + d + t;
      const std::uint32_t b[2] = {pair_at(k), pair_at(k + 8)};
      multiply_tile(scores[n], low, b);
      multiply_tile(scores[n], high, b);
    }
  }
}

// Scores become weights relative to the vector's new maximum; returns by what the sums so far are multiplied.
template <class Page, int kDim>
LEADLINE_DEVICE float block_weights(const PrefillPart& part, const PrefillMemory<kDim>& m, std::int64_t begin,
                                    PrefillVector& v, int half, float (&scores)[kPrefillSlots / 8][4]) {
  const auto& [a, s, view] = part;
  const int t = thread_index() % 4 * 2;
  const float* bias = bias_of(a.step, s, view.kv_head);
  float top = minus_infinity();
  unsigned seen = 0;
  LEADLINE_UNROLL
  for (int n = 0; n < kPrefillSlots / 8; ++n) {
    LEADLINE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int at = n * 8 + t + i;
      const std::int64_t slot = begin + at;
      float& x = scores[n][half * 2 + i];
      if (!sees(part, v, slot)) continue;
      if (Page::kScaled) x *= m.k_scale[at];
      x = fused(x, a.scale, bias != nullptr && slot < view.before ? bias[slot] : 0.0f);
      seen |= 1u << (n * 2 + i);
      top = larger(x, top);
    }
  }
  top = larger(top, shuffle_xor(top, 1));
  top = larger(top, shuffle_xor(top, 2));
  top = larger(top, v.top);
  const float keep = top == minus_infinity() || v.top == minus_infinity() ? 0.0f : exponential(v.top - top);
  v.sum *= keep;
  v.top = top;
  LEADLINE_UNROLL
  for (int n = 0; n < kPrefillSlots / 8; ++n) {
    LEADLINE_UNROLL
    for (int i = 0; i < 2; ++i) {
      float& x = scores[n][half * 2 + i];
      const bool counts = (seen >> (n * 2 + i) & 1u) != 0 && top != minus_infinity();
      x = counts ? exponential(x - top) : 0.0f;
      v.sum += x;
      if (Page::kScaled) x *= m.v_scale[n * 8 + t + i];
    }
  }
  return keep;
}

// values[n] += weights . V.
template <int kDim>
LEADLINE_DEVICE void block_values(const PrefillMemory<kDim>& m, const float (&weights)[kPrefillSlots / 8][4],
                                  float (&values)[kDim / 8][4]) {
  const int lane = thread_index() % 32, g = lane / 4, t = lane % 4 * 2;
  LEADLINE_UNROLL
  for (int half = 0; half < kPrefillSlots / 16; ++half) {
    std::uint32_t high[4], low[4];
    LEADLINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float* w = weights[half * 2 + i / 2] + i % 2 * 2;
      split_pair(w[0], w[1], high[i], low[i]);
    }
    LEADLINE_UNROLL
    for (int n = 0; n < kDim / 8; ++n) {
      const std::uint16_t* v = m.v + (n * 8 + g) * m.kColumn + half * 16 + t;
      const std::uint32_t b[2] = {pair_at(v), pair_at(v + 8)};
      multiply_tile(values[n], low, b);
      multiply_tile(values[n], high, b);
    }
  }
}

// What load_block kept out of the products: whoever sees such a slot gets it.
template <class Page, int kDim>
LEADLINE_DEVICE void add_spoiled(const PrefillPart& part, std::int64_t begin, std::int64_t end,
                                 const PrefillVector (&vectors)[2], float (&values)[kDim / 8][4]) {
  const auto& [a, s, view] = part;
  const int t = thread_index() % 4 * 2;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::uint8_t* unit = unit_of(a.step, s, a.kv, view.kv_head, slot / kPageSlots);
    const int in_page = static_cast<int>(slot % kPageSlots);
    const float scale =
        Page::kScaled ? reinterpret_cast<const float*>(unit + a.kv.scale_offset)[kPageSlots + in_page] : 0.0f;
    LEADLINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (!sees(part, vectors[half], slot)) continue;
      LEADLINE_UNROLL
      for (int n = 0; n < kDim / 8; ++n) {
        float v[8];
        Page::load(unit + a.kv.v_offset + (static_cast<std::int64_t>(in_page) * kDim + n * 8) * Page::kBytes,
                   v);
        LEADLINE_UNROLL
        for (int i = 0; i < 2; ++i) {
          if (!is_finite(v[t + i])) values[n][half * 2 + i] += v[t + i];
          if (!is_finite(scale)) values[n][half * 2 + i] += scale;
        }
      }
    }
  }
}

// Grid: x over tiles of up to 64 vectors, y over KV heads. A warp has 16 vectors; of them a thread has the
// columns 2t, 2t + 1 of every eight of vectors g and g + 8 (lane = 4 g + t), as the matrix units lay them
// out.
template <class Page, int kDim>
LEADLINE_DEVICE void attention_prefill(const AttentionArgs& a) {
  const TileWords tile = reinterpret_cast<const TileWords*>(a.step.words + a.step.tiles_at)[block_x()];
  if (tile.rows == 0) return;
  const SequenceWords& s = sequence_of(a.step, static_cast<std::uint32_t>(tile.sequence));
  TileView view{block_y(), tile.row, tile.heads, tile.rows * tile.heads, a.window, 0, 0};
  view.before = slots_before(a.step, s, view.kv_head);
  view.first_head = view.kv_head * (a.query_heads / a.kv_heads) + tile.head;
  const PrefillPart part{a, s, view};
  PrefillMemory<kDim> m(shared_floats());
  if (thread_index() == 0) *m.spoiled = 0;
  load_queries<kDim>(part, m);
  const int lane = thread_index() % 32, own = thread_index() / 32 * 16 + lane / 4;
  PrefillVector vectors[2];
  LEADLINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int v = own + half * 8;
    const bool there = v < view.vectors;
    vectors[half] = {there, there ? view.first(v) : 0, there ? view.last(v) : -1, minus_infinity(), 0.0f};
  }
  float values[kDim / 8][4];
  LEADLINE_UNROLL
  for (int n = 0; n < kDim / 8; ++n) LEADLINE_UNROLL
  for (int i = 0; i < 4; ++i) values[n][i] = 0.0f;
  const std::int64_t low = view.first(0), high = view.last(view.vectors - 1) + 1;
  for (std::int64_t begin = low / kPrefillSlots * kPrefillSlots; begin < high; begin += kPrefillSlots) {
    const std::int64_t end = begin + kPrefillSlots < high ? begin + kPrefillSlots : high;
    block_barrier();  // the block before has been read
    load_block<Page, kDim>(part, m, begin, end);
    block_barrier();
    float scores[kPrefillSlots / 8][4];
    LEADLINE_UNROLL
    for (int n = 0; n < kPrefillSlots / 8; ++n) LEADLINE_UNROLL
    for (int i = 0; i < 4; ++i) scores[n][i] = 0.0f;
    block_scores<kDim>(m, scores);
    LEADLINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float keep = block_weights<Page, kDim>(part, m, begin, vectors[half], half, scores);
      LEADLINE_UNROLL
      for (int n = 0; n < kDim / 8; ++n) LEADLINE_UNROLL
      for (int i = 0; i < 2; ++i) values[n][half * 2 + i] *= keep;
    }
    block_values<kDim>(m, scores, values);
    if (*m.spoiled == static_cast<int>(begin) + 1) add_spoiled<Page, kDim>(part, begin, end, vectors, values);
  }
  LEADLINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    PrefillVector& v = vectors[half];
    v.sum += shuffle_xor(v.sum, 1);
    v.sum += shuffle_xor(v.sum, 2);
    if (!v.there) continue;
    const int vector = own + half * 8;
    const std::int64_t row = s.first_row + view.row + vector / view.heads,
                       head = view.first_head + vector % view.heads;
    const float divisor = v.sum > 0 || !is_finite(v.sum) ? v.sum : 1.0f;
    float* out = a.out + row * a.out_stride + head * kDim + lane % 4 * 2;
    LEADLINE_UNROLL
    for (int n = 0; n < kDim / 8; ++n) LEADLINE_UNROLL
    for (int i = 0; i < 2; ++i) out[n * 8 + i] = values[n][half * 2 + i] / divisor;
    if (lane % 4 == 0) write_lse(a.lse, row * a.query_heads + head, {v.top, v.sum});
  }
}

}  // namespace leadline::worker::cuda
