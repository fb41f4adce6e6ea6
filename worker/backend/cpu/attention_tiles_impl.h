#pragma once
// Attention over bf16 and int8 pages on AMX tiles: the weights and the weighted values of one split, for the
// walk of attention_impl.h. Included by kernels_amxbf16.cpp only; unnamed namespace on purpose
// (vector_scalar.h). Queries and probabilities go in as two bf16 parts, rounding and rest (as activations:
// bf16_tiles_impl.h); keys and values are exact (a byte is a bf16; its slot's scale goes into the score or
// the weight). Pages are spread to pairs on the way: it costs less than they take to arrive. Invariants:
//   1. A score is the sum of two chains of TDPBF16PS, of the roundings and of the rests, each from zero over
//   steps of 32 of head_dim; a split's value likewise over pairs of pages, counted from the split's first
//   slot. Tiles compute their rows independently and slots that a query does not see add nothing, so neither
//   the other queries nor the pages that only they see change a bit.
//   2. A slot that no query of the tile sees is read as zeros; where one that only some see holds a NaN or an
//   infinity, each query is computed from what it sees alone.

#include <stdint.h>

#include "worker/backend/cpu/attention_impl.h"
#include "worker/backend/cpu/bf16_tiles_impl.h"
#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/vector_amx.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kTileBytes = 1024, kTileFloats = 256, kRowBytes = 64;
constexpr int kPairSlots = 2 * kPageSlots;  // the depth of one tile of values
constexpr int kSplitPairs = kSplitSlots / kPairSlots;

static inline int score_steps(int head_dim) {
  return (head_dim + kBf16Step - 1) / kBf16Step;
}

// Values of a page pair: where their rows begin, null for a half that nobody sees; and what is wanted next.
struct PagePair {
  const uint8_t *values[2], *next[2];
};

// Which part of a split a pass over the values takes: slots outside `kept` are zeros.
struct ValuePass {
  SlotRange kept, whole;  // whole: what every query sees
  int only;               // the one query that is wanted, or -1: all
};

struct SplitPairs {
  int first, last;  // page pairs of a split, both included
};

// What is needed later comes to the second cache meanwhile. The instruction itself: GCC 12 leaves out calls
// whose only effect is a prefetch.
static inline void fetch_later(const uint8_t* p) {
  asm volatile("prefetcht1 %0" ::"m"(*p));
}

// Up to eight queries: tile 4 has both parts of them, tiles 0 to 3 are sums with four tiles. More: tile 4 has
// the roundings, 5 the rests; 0 and 1 are the roundings' sums with two tiles, 2 and 3 the rests'.
template <bool kMany>
struct QueryTiles {
  static constexpr int kTogether = kMany ? 2 : 4;  // tiles that the queries are multiplied with at once

  static inline __attribute__((always_inline)) void zero_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  static inline __attribute__((always_inline)) void load(const uint8_t* parts, int vectors) {
    _tile_loadd(4, parts, kRowBytes);
    if constexpr (kMany) _tile_loadd(5, parts + vectors * kRowBytes, kRowBytes);
  }
  template <int kCount>
  static inline __attribute__((always_inline)) void add(const uint8_t* with, int64_t apart) {
    _tile_loadd(6, with, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kMany) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kCount > 1) {
      _tile_loadd(7, with + apart, kRowBytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kMany) _tile_dpbf16ps(3, 5, 7);
    }
    if constexpr (kCount > 2 && !kMany) {
      _tile_loadd(6, with + 2 * apart, kRowBytes);
      _tile_dpbf16ps(2, 4, 6);
    }
    if constexpr (kCount > 3 && !kMany) {
      _tile_loadd(7, with + 3 * apart, kRowBytes);
      _tile_dpbf16ps(3, 4, 7);
    }
  }
  static inline __attribute__((always_inline)) void store_sums(float* sums) {
    _tile_stored(0, sums, kRowBytes);
    _tile_stored(1, sums + kTileFloats, kRowBytes);
    _tile_stored(2, sums + 2 * kTileFloats, kRowBytes);
    _tile_stored(3, sums + 3 * kTileFloats, kRowBytes);
  }
  // Query j's sixteen sums with tile `tile`, of both parts.
  static inline __attribute__((always_inline)) Amx::F sum(const float* sums, int vectors, int tile, int j) {
    const float* high = sums + tile * kTileFloats + j * 16;
    return Amx::add(Amx::load(high), Amx::load(high + (kMany ? 2 * kTileFloats : vectors * 16)));
  }
};

// How a format becomes pairs of bf16.
template <int kFormat>
struct PagePairs {
  static constexpr int kSize = 2;  // bytes of an element
  // Dims 2i and 2i + 1 of 16 slots, side by side.
  static inline __attribute__((always_inline)) __m512i keys(const uint8_t* rows) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, _mm512_loadu_si512(rows));
  }
  // 32 dims (columns: how many there are) of two slots, to two tiles' rows. Unpacking interleaves within
  // quarters: the left one has dims 0-3, 8-11, 16-19, 24-27, the right one the others.
  static inline __attribute__((always_inline)) void values(const uint8_t* a, const uint8_t* b, int columns,
                                                           uint8_t* left, uint8_t* right) {
    const auto lanes = columns >= 32 ? ~__mmask32{0} : (__mmask32{1} << columns) - 1;
    const auto x = _mm512_maskz_loadu_epi16(lanes, a), y = _mm512_maskz_loadu_epi16(lanes, b);
    _mm512_store_si512(left, _mm512_unpacklo_epi16(x, y));
    _mm512_store_si512(right, _mm512_unpackhi_epi16(x, y));
  }
  // Two tiles' sums to their dims' order.
  static inline void in_order(Amx::F left, Amx::F right, int columns, float* out) {
    const __m512i low = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512i high = _mm512_set_epi32(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8);
    Amx::store(out, _mm512_permutex2var_ps(left, low, right));
    if (columns > 16) Amx::store(out + 16, _mm512_permutex2var_ps(left, high, right));
  }
};
template <>
struct PagePairs<kI8> {
  static constexpr int kSize = 1;
  // Sixteen bytes of each, as bf16 of their exact values: a's in the low halves, b's in the high ones.
  static inline __attribute__((always_inline)) __m512i pair(const uint8_t* a, const uint8_t* b) {
    const auto x = _mm512_castps_si512(Amx::load_int8(reinterpret_cast<const int8_t*>(a)));
    const auto y = _mm512_castps_si512(Amx::load_int8(reinterpret_cast<const int8_t*>(b)));
    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(x, 16), y);
  }
  static inline __attribute__((always_inline)) __m512i keys(const uint8_t* rows) {
    return pair(rows, rows + kPageSlots);
  }
  static inline __attribute__((always_inline)) void values(const uint8_t* a, const uint8_t* b, int columns,
                                                           uint8_t* left, uint8_t* right) {
    _mm512_store_si512(left, pair(a, b));
    _mm512_store_si512(right, columns > 16 ? pair(a + 16, b + 16) : _mm512_setzero_si512());
  }
  static inline void in_order(Amx::F left, Amx::F right, int columns, float* out) {
    Amx::store(out, left);
    if (columns > 16) Amx::store(out + 16, right);
  }
};

template <int kFormat, bool kMany>
struct TileWalk {
  using Lanes = Amx;
  using Tiles = QueryTiles<kMany>;
  using Pairs = PagePairs<kFormat>;

  static void begin(const AttentionTask& t, TileScratch& s, int vectors) {
    const int steps = score_steps(t.layout.head_dim), dim = t.layout.head_dim;
    for (int j = 0; j < vectors; ++j) {
      const float* q = query_of(t, j);
      for (int step = 0; step < steps; ++step) {
        auto* high = reinterpret_cast<uint16_t*>(query_tile(s, step, 0, vectors)) + j * kBf16Step;
        auto* low = reinterpret_cast<uint16_t*>(query_tile(s, step, 1, vectors)) + j * kBf16Step;
        const int left = dim - step * kBf16Step, count = left < kBf16Step ? left : kBf16Step;
        if (count <= 16)
          for (int i = 16; i < kBf16Step; ++i) high[i] = low[i] = 0;
        split_values<Amx>(q + step * kBf16Step, count, high, low);
      }
    }
    settle_stores();
    Amx::begin_tiles(kMany ? vectors : 2 * vectors);
  }
  static void end() { Amx::end_tiles(); }
  static int64_t walk_many(const AttentionTask&, TileScratch&, int, int64_t split) { return split; }

  static uint8_t* query_tile(const TileScratch& s, int step, int part, int vectors) {
    return s.tile_rows + int64_t{2 * step + part} * vectors * kRowBytes;
  }
  static uint8_t* probability_tile(const TileScratch& s, int pair, int part, int vectors) {
    return s.tile_weights + int64_t{2 * pair + part} * vectors * kRowBytes;
  }

  // What a walk over `span` reads two pages after `page`, in its pass over keys or the one over values that
  // follows; after that come the next split's keys. At the end of the walk: what is there already.
  static const uint8_t* wanted_after(const AttentionTask& t, SlotRange span, int64_t page, bool values) {
    const int64_t first = span.begin / kPageSlots, end = (span.end + kPageSlots - 1) / kPageSlots;
    int64_t next = page + 2;
    if (next < end) return unit_of(t, next) + (values ? t.layout.v_offset : 0);
    if (!values) {
      next = first + next - end;
      return unit_of(t, next < end ? next : first) + t.layout.v_offset;
    }
    const int64_t last = (t.before + t.first + t.rows - 1) / kPageSlots;
    const bool more = next <= last && next < t.split_end * (kSplitSlots / kPageSlots);
    return unit_of(t, more ? next : end - 1);
  }

  // Row i of the tiles: dims 2i and 2i + 1 of a page's 16 slots; rows beyond head_dim are zeros.
  static void spread_keys(const uint8_t* keys, int head_dim, const uint8_t* wanted, uint8_t* out) {
    constexpr int kBytes = 2 * kPageSlots * Pairs::kSize;
    const int pairs = head_dim / 2, all = score_steps(head_dim) * kTileRows;
    for (int i = 0; i < pairs; ++i, out += kRowBytes) {
      fetch_later(wanted + i * kBytes);
      _mm512_store_si512(out, Pairs::keys(keys + i * kBytes));
    }
    for (int i = pairs; i < all; ++i, out += kRowBytes) _mm512_store_si512(out, _mm512_setzero_si512());
  }

  template <int kPages>
  static void score_pages(const TileScratch& s, int vectors, int steps, float* scores) {
    Tiles::zero_sums();
    for (int step = 0; step < steps; ++step) {
      Tiles::load(query_tile(s, step, 0, vectors), vectors);
      Tiles::template add<kPages>(s.tile_keys + step * kTileBytes, int64_t{steps} * kTileBytes);
    }
    Tiles::store_sums(s.tile_sums);
    for (int j = 0; j < vectors; ++j)
      for (int page = 0; page < kPages; ++page)
        Amx::store(scores + j * kSplitSlots + page * kPageSlots, Tiles::sum(s.tile_sums, vectors, page, j));
  }
  static void scores(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    raw_scores(t, s, vectors, span);
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    const SplitPairs range = pairs_of(span);
    const SlotRange whole{origin + range.first * kPairSlots, origin + (range.last + 1) * kPairSlots};
    for (int j = 0; j < vectors; ++j) {
      const bool all = s.seen[j].begin <= whole.begin && s.seen[j].end >= whole.end;
      if (all && !t.bias && !t.valid)
        weights<true>(t, s, vectors, j, origin, range);
      else
        weights<false>(t, s, vectors, j, origin, range);
    }
  }
  static SplitPairs pairs_of(SlotRange span) {
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    return {int((span.begin - origin) / kPairSlots), int((span.end - 1 - origin) / kPairSlots)};
  }
  static void raw_scores(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    const int64_t end = (span.end + kPageSlots - 1) / kPageSlots;
    const int dim = t.layout.head_dim, steps = score_steps(dim);
    for (int64_t page = span.begin / kPageSlots; page < end; page += Tiles::kTogether) {
      const int pages = end - page < Tiles::kTogether ? int(end - page) : Tiles::kTogether;
      for (int i = 0; i < pages; ++i) {
        spread_keys(unit_of(t, page + i), dim, wanted_after(t, span, page + i, false),
                    s.tile_keys + int64_t{i} * steps * kTileBytes);
      }
      settle_stores();
      float* out = s.scores + (page * kPageSlots - origin);
      if (pages == 4)
        score_pages<4>(s, vectors, steps, out);
      else if (pages == 3)
        score_pages<3>(s, vectors, steps, out);
      else if (pages == 2)
        score_pages<2>(s, vectors, steps, out);
      else
        score_pages<1>(s, vectors, steps, out);
    }
  }

  static __mmask16 seen_lanes(const AttentionTask& t, SlotRange seen, int64_t page) {
    const SlotRange lanes = intersect(seen, {page * kPageSlots, page * kPageSlots + page_end(t, page)});
    if (lanes.begin >= lanes.end) return 0;
    return __mmask16(Amx::first(int(lanes.end - page * kPageSlots)) &
                     ~Amx::first(int(lanes.begin - page * kPageSlots)));
  }
  // Logits of a page as attention_impl.h has them; kAll: every slot is seen and none has a bias.
  template <bool kAll>
  static inline __attribute__((always_inline)) Amx::F logits(const AttentionTask& t, const float* raw,
                                                             int64_t page, __mmask16 lanes) {
    return logits_of<kAll>(t, Amx::load(raw), page, lanes);
  }
  template <bool kAll>
  static inline __attribute__((always_inline)) Amx::F logits_of(const AttentionTask& t, Amx::F x,
                                                                int64_t page, __mmask16 lanes) {
    if (!kAll && lanes == 0) return Amx::set1(kMinusInfinity);
    if constexpr (kFormat == kI8) x = Amx::mul(x, Amx::load(scales_of(t, unit_of(t, page))));
    if constexpr (kAll) return Amx::fma(x, Amx::set1(t.scale), Amx::zero());
    x = Amx::fma(x, Amx::set1(t.scale), page_bias<Amx>(t, page * kPageSlots));
    return _mm512_mask_mov_ps(Amx::set1(kMinusInfinity), lanes, x);
  }
  template <bool kAll>
  static inline __attribute__((always_inline)) Amx::F scaled(const AttentionTask& t, Amx::F p, int64_t page,
                                                             __mmask16 lanes) {
    if constexpr (kFormat != kI8) return p;
    if (!kAll && lanes == 0) return p;
    return _mm512_maskz_mul_ps(lanes, p, Amx::load(scales_of(t, unit_of(t, page)) + kPageSlots));
  }
  // Query j's maximum and sum of the split, and its weights as two bf16 parts, zero where it sees nothing.
  template <bool kAll>
  static void weights(const AttentionTask& t, TileScratch& s, int vectors, int j, int64_t origin,
                      SplitPairs range) {
    const int64_t first = origin / kPageSlots;
    const int begin = 2 * range.first, end = 2 * range.last + 2;
    const float* row = s.scores + j * kSplitSlots;
    __mmask16 lanes[kSplitSlots / kPageSlots];
    auto highest = Amx::set1(kMinusInfinity);
    for (int page = begin; page < end; ++page) {
      lanes[page] = kAll ? __mmask16(0xffff) : seen_lanes(t, s.seen[j], first + page);
      highest = Amx::max(logits<kAll>(t, row + page * kPageSlots, first + page, lanes[page]), highest);
    }
    s.maximum[j] = Amx::max_of(highest);
    s.sum[j] = 0;
    const bool any = s.maximum[j] != kMinusInfinity;
    const auto shift = Amx::set1(any ? s.maximum[j] : 0.0f);
    auto total = Amx::zero();
    for (int pair = range.first; pair <= range.last; ++pair) {
      const int page = 2 * pair;
      const auto left = logits<kAll>(t, row + page * kPageSlots, first + page, lanes[page]);
      const auto right = logits<kAll>(t, row + (page + 1) * kPageSlots, first + page + 1, lanes[page + 1]);
      const auto a = exp_of<Amx>(Amx::sub(left, shift)), b = exp_of<Amx>(Amx::sub(right, shift));
      total = Amx::add(Amx::add(total, a), b);
      put_weights(scaled<kAll>(t, a, first + page, lanes[page]),
                  scaled<kAll>(t, b, first + page + 1, lanes[page + 1]), vectors,
                  probability_tile(s, pair, 0, vectors) + j * kRowBytes);
    }
    if (any) s.sum[j] = Amx::sum(total);
  }
  // Weights of a pair of pages, to a row of the roundings' tile and one of the rests'.
  static inline __attribute__((always_inline)) void put_weights(Amx::F a, Amx::F b, int vectors,
                                                                uint8_t* out) {
    const __m512i high = both(a, b);
    const auto x = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)), 16);
    const auto y = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1)), 16);
    _mm512_store_si512(out, high);
    _mm512_store_si512(out + vectors * kRowBytes,
                       both(Amx::sub(a, _mm512_castsi512_ps(x)), Amx::sub(b, _mm512_castsi512_ps(y))));
  }
  static inline __m512i both(Amx::F a, Amx::F b) {  // rounded to nearest even: a's 16, then b's
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
  }

  // Slot pairs of 32 dims of a page: eight rows of two tiles.
  static inline void spread_half(const uint8_t* values, int64_t row_bytes, int columns, const uint8_t* next,
                                 uint8_t* out) {
    for (int i = 0; i < 8; ++i, out += kRowBytes) {
      if (!values || columns <= 0) {
        _mm512_store_si512(out, _mm512_setzero_si512());
        _mm512_store_si512(out + kTileBytes, _mm512_setzero_si512());
        continue;
      }
      fetch_later(next);
      if constexpr (Pairs::kSize > 1) fetch_later(next + kRowBytes);
      next += kRowBytes * Pairs::kSize;
      Pairs::values(values, values + row_bytes, columns, out, out + kTileBytes);
      values += 2 * row_bytes;
    }
  }
  static void spread_values(const PagePair& pair, int64_t row_bytes, int column, int columns, uint8_t* out) {
    for (int page = 0; page < 2; ++page) {
      const uint8_t* values =
          pair.values[page] ? pair.values[page] + int64_t{column} * Pairs::kSize : nullptr;
      const uint8_t* next = values ? pair.next[page] + int64_t{column} * kPageSlots * Pairs::kSize : values;
      uint8_t* rows = out + page * 8 * kRowBytes;
      spread_half(values, row_bytes, columns, next, rows);
      if (!kMany && columns > 32)
        spread_half(values ? values + 32 * Pairs::kSize : values, row_bytes, columns - 32,
                    values ? next + 32 * kPageSlots * Pairs::kSize : values, rows + 2 * kTileBytes);
    }
  }
  // Query j's sums with two tiles, to columns of `values` in their order.
  static void put_columns(const float* sums, int vectors, int tile, int j, int columns, float* values) {
    Pairs::in_order(Tiles::sum(sums, vectors, tile, j), Tiles::sum(sums, vectors, tile + 1, j), columns,
                    values);
  }

  // Values of a page as stored, or a copy with zeros for slots that do not count.
  static const uint8_t* values_of(const AttentionTask& t, const ValuePass& pass, int64_t page,
                                  uint8_t* copy) {
    const int64_t first = page * kPageSlots, bytes = int64_t{t.layout.padded_dim} * Pairs::kSize;
    const SlotRange all{first, first + page_end(t, page)}, kept = intersect(pass.kept, all);
    if (kept.begin >= kept.end) return nullptr;
    const uint8_t* values = unit_of(t, page) + t.layout.v_offset;
    if (kept.begin == first && kept.end == first + kPageSlots) return values;
    for (int slot = 0; slot < kPageSlots; ++slot) {
      const bool keep = first + slot >= kept.begin && first + slot < kept.end;
      for (int64_t i = 0; i < bytes; i += 16) {
        const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + slot * bytes + i));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(copy + slot * bytes + i),
                         keep ? row : _mm_setzero_si128());
      }
    }
    return copy;
  }
  // Is every value finite that only some of the queries see?
  static bool finite_where_shared(const AttentionTask& t, const ValuePass& pass, int64_t page) {
    const int64_t first = page * kPageSlots, width = t.layout.padded_dim;
    const SlotRange kept = intersect(pass.kept, {first, first + page_end(t, page)});
    const __m256i exponent = _mm256_set1_epi16(0x7f80);
    for (int64_t slot = kept.begin; slot < kept.end; ++slot) {
      if (slot >= pass.whole.begin && slot < pass.whole.end) continue;
      const auto* row =
          reinterpret_cast<const uint16_t*>(unit_of(t, page) + t.layout.v_offset) + (slot - first) * width;
      for (int64_t i = 0; i < t.layout.head_dim; i += 16) {
        const int lanes = t.layout.head_dim - i < 16 ? int(t.layout.head_dim - i) : 16;
        const __m256i x = _mm256_maskz_loadu_epi16(Amx::first(lanes), row + i);
        if (_mm256_cmpeq_epi16_mask(_mm256_and_si256(x, exponent), exponent) != 0) return false;
      }
    }
    return true;
  }

  template <int kTiles>
  static void column_block(const AttentionTask& t, TileScratch& s, int vectors, const PagePair* pairs,
                           SplitPairs range, int column) {
    const int64_t row_bytes = int64_t{t.layout.padded_dim} * Pairs::kSize;
    const int columns = t.layout.padded_dim - column;
    uint8_t* spread[2] = {s.tile_values, s.tile_values + 4 * kTileBytes};
    Tiles::zero_sums();
    spread_values(pairs[range.first], row_bytes, column, columns, spread[range.first % 2]);
    for (int pair = range.first; pair <= range.last; ++pair) {
      if (pair < range.last)
        spread_values(pairs[pair + 1], row_bytes, column, columns, spread[(pair + 1) % 2]);
      settle_stores();
      Tiles::load(probability_tile(s, pair, 0, vectors), vectors);
      Tiles::template add<kTiles>(spread[pair % 2], kTileBytes);
    }
    Tiles::store_sums(s.tile_sums);
  }
  static void pass_values(const AttentionTask& t, TileScratch& s, int vectors, const ValuePass& pass,
                          int64_t origin, SplitPairs range) {
    PagePair pairs[kSplitPairs];
    uint8_t* copy = s.tile_copies;
    const int64_t copy_bytes = int64_t{t.layout.padded_dim} * kPageSlots * Pairs::kSize;
    for (int pair = range.first; pair <= range.last; ++pair) {
      for (int half = 0; half < 2; ++half) {
        const int64_t page = origin / kPageSlots + 2 * pair + half;
        const uint8_t* values = values_of(t, pass, page, copy);
        pairs[pair].values[half] = values;
        pairs[pair].next[half] = values ? wanted_after(t, pass.kept, page, true) : nullptr;
        if (values == copy) copy += copy_bytes;
      }
    }
    constexpr int kColumns = 16 * Tiles::kTogether;
    const int padded = t.layout.padded_dim;
    for (int column = 0; column < padded; column += kColumns) {
      const int columns = padded - column < kColumns ? padded - column : kColumns;
      if (!kMany && columns > 32)
        column_block<4>(t, s, vectors, pairs, range, column);
      else
        column_block<2>(t, s, vectors, pairs, range, column);
      for (int j = pass.only < 0 ? 0 : pass.only; j < (pass.only < 0 ? vectors : pass.only + 1); ++j) {
        float* values = s.values + int64_t{j} * padded + column;
        put_columns(s.tile_sums, vectors, 0, j, columns, values);
        if (columns > 32) put_columns(s.tile_sums, vectors, 2, j, columns - 32, values + 32);
      }
    }
  }
  static void values(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    const SplitPairs range = pairs_of(span);
    ValuePass pass{span, s.seen[0], -1};
    for (int j = 1; j < vectors; ++j) pass.whole = intersect(pass.whole, s.seen[j]);
    bool finite = true;
    for (int64_t page = span.begin / kPageSlots; page * kPageSlots < span.end && finite; ++page) {
      if (page * kPageSlots < pass.whole.begin || (page + 1) * kPageSlots > pass.whole.end)
        finite = kFormat == kI8 || finite_where_shared(t, pass, page);
    }
    if (finite) return pass_values(t, s, vectors, pass, origin, range);
    for (int j = 0; j < vectors; ++j) {
      if (s.seen[j].begin < s.seen[j].end)
        pass_values(t, s, vectors, {s.seen[j], s.seen[j], j}, origin, range);
    }
  }
};

}  // namespace
}  // namespace leadline::worker::cpu
