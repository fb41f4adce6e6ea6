#pragma once
// Attention over bf16 pages on AMX tiles: the scores and the weighted values of one split, for the walk of
// attention_impl.h. Included by kernels_amxbf16.cpp only; unnamed namespace on purpose (vector_scalar.h).
// Queries and probabilities go in as two bf16 parts, rounding and rest (as activations: bf16_tiles_impl.h);
// keys and values are exact. Pages are spread to pairs on the way: it costs less than they take to arrive.
// Invariants:
//   1. A score is one chain of TDPBF16PS over steps of 32 of head_dim, the rounding before the rest, from
//   zero; a split's value likewise over pairs of pages, counted from the split's first slot. Tiles compute
//   their rows independently and slots that a query does not see add nothing, so neither the other queries
//   nor the pages that only they see change a bit.
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
constexpr int kPagesTogether = 4;           // of one block of scores: a tile of sums each
constexpr int kColumnsTogether = 64;        // of one block of values: four tiles of sums
constexpr int kSplitPairs = kSplitSlots / kPairSlots;

static inline int score_steps(int head_dim) {
  return (head_dim + kBf16Step - 1) / kBf16Step;
}

// Values of a page pair: where their rows begin, null for a half that nobody sees.
struct PagePair {
  const uint8_t* values[2];
};

// Which part of a split a pass over the values takes: slots outside `kept` are zeros.
struct ValuePass {
  SlotRange kept, whole;  // whole: what every query sees
  int only;               // the one query that is wanted, or -1: all
};

struct SplitPairs {
  int first, last;  // page pairs of a split, both included
};

// Tiles 0 to 3 are sums, 4 and 5 the rows' two parts, 6 and 7 what they are multiplied with.
template <int kCount>
static inline __attribute__((always_inline)) void zero_sums() {
  _tile_zero(0);
  if constexpr (kCount > 1) _tile_zero(1);
  if constexpr (kCount > 2) _tile_zero(2);
  if constexpr (kCount > 3) _tile_zero(3);
}
// Sums i += (rounding + rest) of the rows with the tile at `with` + i * apart.
template <int kCount>
static inline __attribute__((always_inline)) void add_products(const uint8_t* with, int64_t apart) {
  _tile_loadd(6, with, kRowBytes);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(0, 5, 6);
  if constexpr (kCount > 1) {
    _tile_loadd(7, with + apart, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(1, 5, 7);
  }
  if constexpr (kCount > 2) {
    _tile_loadd(6, with + 2 * apart, kRowBytes);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
  }
  if constexpr (kCount > 3) {
    _tile_loadd(7, with + 3 * apart, kRowBytes);
    _tile_dpbf16ps(3, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}
template <int kCount>
static inline __attribute__((always_inline)) void store_sums(float* out, int64_t apart, int64_t row_bytes) {
  _tile_stored(0, out, row_bytes);
  if constexpr (kCount > 1) _tile_stored(1, out + apart, row_bytes);
  if constexpr (kCount > 2) _tile_stored(2, out + 2 * apart, row_bytes);
  if constexpr (kCount > 3) _tile_stored(3, out + 3 * apart, row_bytes);
}

struct TileWalk {
  using Lanes = Amx;

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
        split_values(q + step * kBf16Step, count, high, low);
      }
    }
    settle_stores();
    Amx::begin_tiles(vectors);
  }
  static void end() { Amx::end_tiles(); }

  static uint8_t* query_tile(const TileScratch& s, int step, int part, int vectors) {
    return s.tile_rows + int64_t{2 * step + part} * vectors * kRowBytes;
  }
  static uint8_t* probability_tile(const TileScratch& s, int pair, int part, int vectors) {
    return s.tile_weights + int64_t{2 * pair + part} * vectors * kRowBytes;
  }

  // Row i of the tiles: dims 2i and 2i + 1 of a page's 16 slots, side by side; rows beyond head_dim zero.
  static void spread_keys(const uint8_t* keys, int head_dim, uint8_t* out) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const int pairs = head_dim / 2, all = score_steps(head_dim) * kTileRows;
    for (int i = 0; i < pairs; ++i, out += kRowBytes)
      _mm512_store_si512(out, _mm512_permutexvar_epi16(order, _mm512_loadu_si512(keys + i * kRowBytes)));
    for (int i = pairs; i < all; ++i, out += kRowBytes) _mm512_store_si512(out, _mm512_setzero_si512());
  }

  template <int kPages>
  static void score_pages(const TileScratch& s, int vectors, int steps, float* scores) {
    zero_sums<kPages>();
    for (int step = 0; step < steps; ++step) {
      _tile_loadd(4, query_tile(s, step, 0, vectors), kRowBytes);
      _tile_loadd(5, query_tile(s, step, 1, vectors), kRowBytes);
      add_products<kPages>(s.tile_keys + step * kTileBytes, int64_t{steps} * kTileBytes);
    }
    store_sums<kPages>(scores, kPageSlots, kSplitSlots * 4);
  }
  static void scores(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    const int64_t end = (span.end + kPageSlots - 1) / kPageSlots;
    const int dim = t.layout.head_dim, steps = score_steps(dim);
    for (int64_t page = span.begin / kPageSlots; page < end; page += kPagesTogether) {
      const int pages = end - page < kPagesTogether ? int(end - page) : kPagesTogether;
      for (int i = 0; i < pages; ++i)
        spread_keys(unit_of(t, page + i), dim, s.tile_keys + int64_t{i} * steps * kTileBytes);
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

  // Probabilities of the split as two bf16 parts, zero where a query sees nothing of a page.
  static void split_probabilities(TileScratch& s, int vectors, int64_t origin, SplitPairs range) {
    for (int j = 0; j < vectors; ++j) {
      const bool any = s.seen[j].begin < s.seen[j].end && s.maximum[j] != kMinusInfinity;
      const int64_t from = any ? (s.seen[j].begin - origin) / kPageSlots : 1;
      const int64_t to = any ? (s.seen[j].end - 1 - origin) / kPageSlots : 0;
      const float* row = s.scores + j * kSplitSlots;
      for (int pair = range.first; pair <= range.last; ++pair) {
        const int page = 2 * pair;
        const auto a = page >= from && page <= to ? Amx::load(row + page * kPageSlots) : Amx::zero();
        const auto b =
            page + 1 >= from && page + 1 <= to ? Amx::load(row + (page + 1) * kPageSlots) : Amx::zero();
        const __m512i high = both(a, b);
        const auto left = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)), 16);
        const auto right = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1)), 16);
        const __m512i low =
            both(Amx::sub(a, _mm512_castsi512_ps(left)), Amx::sub(b, _mm512_castsi512_ps(right)));
        _mm512_store_si512(probability_tile(s, pair, 0, vectors) + j * kRowBytes, high);
        _mm512_store_si512(probability_tile(s, pair, 1, vectors) + j * kRowBytes, low);
      }
    }
  }
  static inline __m512i both(Amx::F a, Amx::F b) {  // rounded to nearest even: a's 16, then b's
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
  }

  // Slot pairs of 32 dims of a page: eight rows of two tiles. Unpacking interleaves within quarters, so the
  // left tile has dims 0-3, 8-11, 16-19, 24-27 and the right one the others (put_columns).
  static inline void spread_half(const uint8_t* values, int64_t row_bytes, int columns, uint8_t* out) {
    if (!values || columns <= 0) {
      for (int i = 0; i < 8; ++i) {
        _mm512_store_si512(out + i * kRowBytes, _mm512_setzero_si512());
        _mm512_store_si512(out + kTileBytes + i * kRowBytes, _mm512_setzero_si512());
      }
      return;
    }
    const auto lanes = columns >= 32 ? ~__mmask32{0} : (__mmask32{1} << columns) - 1;
    for (int i = 0; i < 8; ++i, values += 2 * row_bytes) {
      const auto a = _mm512_maskz_loadu_epi16(lanes, values);
      const auto b = _mm512_maskz_loadu_epi16(lanes, values + row_bytes);
      _mm512_store_si512(out + i * kRowBytes, _mm512_unpacklo_epi16(a, b));
      _mm512_store_si512(out + kTileBytes + i * kRowBytes, _mm512_unpackhi_epi16(a, b));
    }
  }
  static void spread_values(const PagePair& pair, int64_t row_bytes, int column, int columns, uint8_t* out) {
    for (int page = 0; page < 2; ++page) {
      const uint8_t* values = pair.values[page] ? pair.values[page] + int64_t{column} * 2 : nullptr;
      uint8_t* rows = out + page * 8 * kRowBytes;
      spread_half(values, row_bytes, columns, rows);
      if (columns > 32)
        spread_half(values ? values + 64 : nullptr, row_bytes, columns - 32, rows + 2 * kTileBytes);
    }
  }
  // Two tiles of sums, stored one after the other, to columns of `values` in their order.
  static void put_columns(const float* sums, int row, int columns, float* values) {
    const __m512i low = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512i high = _mm512_set_epi32(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8);
    const auto left = Amx::load(sums + row * 16), right = Amx::load(sums + kTileFloats + row * 16);
    Amx::store(values, _mm512_permutex2var_ps(left, low, right));
    if (columns > 16) Amx::store(values + 16, _mm512_permutex2var_ps(left, high, right));
  }

  // Values of a page as stored, or a copy with zeros for slots that do not count.
  static const uint8_t* values_of(const AttentionTask& t, const ValuePass& pass, int64_t page,
                                  uint8_t* copy) {
    const int64_t first = page * kPageSlots, bytes = int64_t{t.layout.padded_dim} * 2;
    const SlotRange all{first, first + page_end(t, page)}, kept = intersect(pass.kept, all);
    if (kept.begin >= kept.end) return nullptr;
    const uint8_t* values = unit_of(t, page) + t.layout.v_offset;
    if (kept.begin == first && kept.end == first + kPageSlots) return values;
    for (int slot = 0; slot < kPageSlots; ++slot) {
      const bool keep = first + slot >= kept.begin && first + slot < kept.end;
      for (int64_t i = 0; i < bytes; i += 32) {
        const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + slot * bytes + i));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(copy + slot * bytes + i),
                            keep ? row : _mm256_setzero_si256());
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
    const int64_t row_bytes = int64_t{t.layout.padded_dim} * 2;
    const int columns = t.layout.padded_dim - column;
    uint8_t* spread[2] = {s.tile_values, s.tile_values + 4 * kTileBytes};
    zero_sums<kTiles>();
    spread_values(pairs[range.first], row_bytes, column, columns, spread[range.first % 2]);
    for (int pair = range.first; pair <= range.last; ++pair) {
      if (pair < range.last)
        spread_values(pairs[pair + 1], row_bytes, column, columns, spread[(pair + 1) % 2]);
      settle_stores();
      _tile_loadd(4, probability_tile(s, pair, 0, vectors), kRowBytes);
      _tile_loadd(5, probability_tile(s, pair, 1, vectors), kRowBytes);
      add_products<kTiles>(spread[pair % 2], kTileBytes);
    }
    store_sums<kTiles>(s.tile_sums, kTileFloats, kRowBytes);
  }
  static void pass_values(const AttentionTask& t, TileScratch& s, int vectors, const ValuePass& pass,
                          int64_t origin, SplitPairs range) {
    PagePair pairs[kSplitPairs];
    uint8_t* copy = s.tile_copies;
    const int64_t copy_bytes = int64_t{t.layout.padded_dim} * kPageSlots * 2;
    for (int pair = range.first; pair <= range.last; ++pair) {
      for (int half = 0; half < 2; ++half) {
        const uint8_t* values = values_of(t, pass, origin / kPageSlots + 2 * pair + half, copy);
        pairs[pair].values[half] = values;
        if (values == copy) copy += copy_bytes;
      }
    }
    const int padded = t.layout.padded_dim;
    for (int column = 0; column < padded; column += kColumnsTogether) {
      const int columns = padded - column < kColumnsTogether ? padded - column : kColumnsTogether;
      if (columns > 32)
        column_block<4>(t, s, vectors, pairs, range, column);
      else
        column_block<2>(t, s, vectors, pairs, range, column);
      for (int j = pass.only < 0 ? 0 : pass.only; j < (pass.only < 0 ? vectors : pass.only + 1); ++j) {
        float* values = s.values + int64_t{j} * padded + column;
        put_columns(s.tile_sums, j, columns, values);
        if (columns > 32) put_columns(s.tile_sums + 2 * kTileFloats, j, columns - 32, values + 32);
      }
    }
  }
  static void values(const AttentionTask& t, TileScratch& s, int vectors, SlotRange span) {
    const int64_t origin = span.begin / kSplitSlots * kSplitSlots;
    const SplitPairs range{int((span.begin - origin) / kPairSlots),
                           int((span.end - 1 - origin) / kPairSlots)};
    ValuePass pass{span, s.seen[0], -1};
    for (int j = 1; j < vectors; ++j) pass.whole = intersect(pass.whole, s.seen[j]);
    split_probabilities(s, vectors, origin, range);
    bool finite = true;
    for (int64_t page = span.begin / kPageSlots; page * kPageSlots < span.end && finite; ++page) {
      if (page * kPageSlots < pass.whole.begin || (page + 1) * kPageSlots > pass.whole.end)
        finite = finite_where_shared(t, pass, page);
    }
    if (finite) return pass_values(t, s, vectors, pass, origin, range);
    for (int j = 0; j < vectors; ++j) {
      if (s.seen[j].begin < s.seen[j].end)
        pass_values(t, s, vectors, {s.seen[j], s.seen[j], j}, origin, range);
    }
  }
};

void attention_with_tiles(const AttentionTask& t) {
  if (t.layout.format == kBf16) return attention_as<TileWalk>(t);
  attention<Amx>(t);
}

}  // namespace
}  // namespace leadline::worker::cpu
