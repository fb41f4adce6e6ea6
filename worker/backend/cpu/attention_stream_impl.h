#pragma once
// Splits that every query sees whole, for up to eight queries (decode, verification): the walk over bf16 and
// int8 pages of attention_tiles_impl.h with its stages side by side, so that memory is read all the time.
// Included by kernels_amxbf16.cpp only; unnamed namespace on purpose (vector_scalar.h). A step of the stream
// reads one page in memory's order and spreads it to tiles, multiplies the page before it with the queries,
// and computes exponentials and values of a page of the split before, whose maximum is known by then.
// Invariant: the arithmetic is attention_tiles_impl.h's, bit for bit; what differs is the order of things
// that do not depend on each other.

#include <stdint.h>

#include "worker/backend/cpu/attention_tiles_impl.h"

namespace leadline::worker::cpu {
namespace {

constexpr int kSplitPages = kSplitSlots / kPageSlots;
constexpr int kStreamQueries = kTileRows / 2;
constexpr int kScorePages = 32;                     // logits are kept for so many pages
constexpr int kCollectLag = 3;                      // steps from reading a page to its logits,
constexpr int kWeightLag = kSplitPages + 3;         // to its weights,
constexpr int kValueLag = kWeightLag + 2;           // to its values
constexpr int kBlockColumns = 64, kBlockTiles = 4;  // of values: as many sums as stay in tiles

// Soon needed in the first cache (the instruction itself: see fetch_later).
static inline __attribute__((always_inline)) void fetch_soon(const uint8_t* p) {
  asm volatile("prefetcht0 %0" ::"m"(*p));
}

template <int kFormat, int kDim>
struct TileStream {
  using Walk = TileWalk<kFormat, false>;
  using Pairs = PagePairs<kFormat>;
  using Tiles = QueryTiles<false>;
  static constexpr int kSteps = kDim / kBf16Step, kBlocks = kDim / kBlockColumns;
  static constexpr int kKeyBytes = 2 * kPageSlots * Pairs::kSize;  // of a pair of dims
  static constexpr int kValueBytes = kDim * Pairs::kSize;          // of a slot
  static constexpr int kValuesAt = kPageSlots * kValueBytes;       // in a unit
  static constexpr int kSpreadBytes = 4 * kDim;                    // of a pair of slots

  const AttentionTask& t;
  TileScratch& s;
  const int vectors;
  const int64_t first, pages;  // of the splits: the first page, how many
  alignas(64) float highest[kStreamQueries][16], total[kStreamQueries][16];
  float top[2][kStreamQueries];  // of the split that is being read and of the one before

  TileStream(const AttentionTask& task, TileScratch& scratch, int count, SlotRange splits)
      : t(task),
        s(scratch),
        vectors(count),
        first(splits.begin * kSplitPages),
        pages((splits.end - splits.begin) * kSplitPages) {}

  uint8_t* keys_at(int64_t p) const { return s.tile_keys + (p & 1) * kSteps * kTileBytes; }
  float* sums_at(int64_t p) const { return s.tile_sums + (p & 1) * kTileFloats; }
  float* logits_at(int64_t p) const { return s.scores + p % kScorePages * (kStreamQueries * 16); }
  uint8_t* weights_at(int64_t pair) const { return s.tile_weights + (pair & 1) * kTileBytes; }
  uint8_t* values_at(int64_t pair) const { return s.tile_copies + (pair & 1) * (kTileRows * kSpreadBytes); }
  float* value_sums(int block) const {
    return reinterpret_cast<float*>(s.tile_values) + block * kBlockTiles * kTileFloats;
  }

  // Spreads a page's keys; its values are fetched to the second cache meanwhile.
  void read(int64_t p) {
    const uint8_t* unit = unit_of(t, first + p);
    const uint8_t* values = unit + kValuesAt;
    uint8_t* out = keys_at(p);
#pragma GCC unroll 64
    for (int i = 0; i < kDim / 2; ++i) {
      const int at = i * kKeyBytes;
      if (at % kRowBytes == 0) fetch_later(values + at);
      _mm512_store_si512(out + i * kRowBytes, Pairs::keys(unit + at));
    }
  }
  // Spreads the values of page p; meanwhile the keys of page `next` are fetched.
  void spread(int64_t p, int64_t next_page) {
    const uint8_t* next = unit_of(t, first + (next_page < pages ? next_page : pages - 1));
    const uint8_t* values = unit_of(t, first + p) + kValuesAt;
    uint8_t* out = values_at(p / 2) + (p & 1) * (kTileRows / 2) * kSpreadBytes;
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows / 2; ++i) {
#pragma GCC unroll 4
      for (int c = 0; c < kDim; c += 32) {
        const int at = 2 * i * kValueBytes + 2 * c * Pairs::kSize;
        fetch_soon(next + at);
        if constexpr (Pairs::kSize > 1) fetch_soon(next + at + kRowBytes);
        const uint8_t* a = values + 2 * i * kValueBytes + c * Pairs::kSize;
        uint8_t* row = out + i * kSpreadBytes + c * 4;
        Pairs::values(a, a + kValueBytes, 32, row, row + kRowBytes);
      }
    }
  }

  // The sums stay in tile 5 until the next page's begin: nothing waits for them here.
  void score(int64_t p) {
    const uint8_t* keys = keys_at(p);
    if (p > 0) _tile_stored(5, sums_at(p - 1), kRowBytes);
    if (p == pages) return;
    _tile_zero(5);
#pragma GCC unroll 4
    for (int step = 0; step < kSteps; ++step) {
      _tile_loadd(4, Walk::query_tile(s, step, 0, vectors), kRowBytes);
      _tile_loadd(6, keys + step * kTileBytes, kRowBytes);
      _tile_dpbf16ps(5, 4, 6);
    }
  }

  // A page's logits; with a split's last one its maxima.
  void collect(int64_t p) {
    const float* sums = sums_at(p);
    float* out = logits_at(p);
    if (p % kSplitPages == 0)
      for (int j = 0; j < vectors; ++j) Amx::store(highest[j], Amx::set1(kMinusInfinity));
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      const auto x = Walk::template logits_of<true>(t, Tiles::sum(sums, vectors, 0, j), first + p, 0xffff);
      Amx::store(out + j * 16, x);
      Amx::store(highest[j], Amx::max(x, Amx::load(highest[j])));
    }
    if ((p + 1) % kSplitPages != 0) return;
    for (int j = 0; j < vectors; ++j) top[p / kSplitPages & 1][j] = Amx::max_of(Amx::load(highest[j]));
  }

  // Weights of the pair that page p belongs to, of one half of the queries.
  void weigh(int64_t p) {
    const int64_t pair = p / 2, page = first + 2 * pair;
    const float *left = logits_at(2 * pair), *right = logits_at(2 * pair + 1);
    const float* tops = top[p / kSplitPages & 1];
    const int half = (vectors + 1) / 2, begin = p & 1 ? half : 0, end = p & 1 ? vectors : half;
    if (pair % kSplitPairs == 0)
      for (int j = begin; j < end; ++j) Amx::store(total[j], Amx::zero());
    uint8_t* out = weights_at(pair);
#pragma GCC unroll 4
    for (int j = begin; j < end; ++j) {
      const auto shift = Amx::set1(tops[j] != kMinusInfinity ? tops[j] : 0.0f);
      const auto a = exp_of<Amx>(Amx::sub(Amx::load(left + j * 16), shift));
      const auto b = exp_of<Amx>(Amx::sub(Amx::load(right + j * 16), shift));
      Amx::store(total[j], Amx::add(Amx::add(Amx::load(total[j]), a), b));
      Walk::put_weights(Walk::template scaled<true>(t, a, page, 0xffff),
                        Walk::template scaled<true>(t, b, page + 1, 0xffff), vectors, out + j * kRowBytes);
    }
  }

  // One block of columns of a pair: tiles 0 to 3 are its sums, which stay there if there is only one.
  void add_block(const uint8_t* weights, const uint8_t* values, int block, bool fresh) {
    float* sums = value_sums(block);
    if (fresh) {
      Tiles::zero_sums();
    } else if (kBlocks > 1) {
      _tile_loadd(0, sums, kRowBytes);
      _tile_loadd(1, sums + kTileFloats, kRowBytes);
      _tile_loadd(2, sums + 2 * kTileFloats, kRowBytes);
      _tile_loadd(3, sums + 3 * kTileFloats, kRowBytes);
    }
    _tile_loadd(4, weights, kRowBytes);
    _tile_loadd(6, values, kSpreadBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, values + kRowBytes, kSpreadBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, values + 2 * kRowBytes, kSpreadBytes);
    _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, values + 3 * kRowBytes, kSpreadBytes);
    _tile_dpbf16ps(3, 4, 7);
    if (kBlocks > 1) Tiles::store_sums(sums);
  }
  void add_values(int64_t pair) {
    const bool fresh = pair % kSplitPairs == 0;
    for (int block = 0; block < kBlocks; ++block)
      add_block(weights_at(pair), values_at(pair) + block * kBlockTiles * kRowBytes, block, fresh);
    if ((pair + 1) % kSplitPairs == 0) finish(pair / kSplitPairs);
  }
  void finish(int64_t split) {
    if (kBlocks == 1) Tiles::store_sums(value_sums(0));
    settle_stores();
    for (int j = 0; j < vectors; ++j) {
      float one[16 + kDim];
      one[0] = top[split & 1][j];
      one[1] = one[0] != kMinusInfinity ? Amx::sum(Amx::load(total[j])) : 0;
      for (int c = 0; c < kDim; c += 32)
        Walk::put_columns(value_sums(c / kBlockColumns), vectors, c % kBlockColumns / 16, j, 32,
                          one + 16 + c);
      attention_merge<Amx>(t.state + j * attention_state_floats(kDim), one, kDim);
    }
  }

  void run() {
    for (int64_t step = 0; step < pages + kValueLag; ++step) {
      if (step < pages) read(step);
      settle_stores();
      if (step >= 1 && step - 1 <= pages) score(step - 1);
      settle_stores();
      if (step >= kCollectLag && step - kCollectLag < pages) collect(step - kCollectLag);
      // A split's values are finished before weigh begins with the next one's sums.
      if (step >= kValueLag && (step - kValueLag) % 2 == 0) add_values((step - kValueLag) / 2);
      settle_stores();
      if (step >= kWeightLag && step - kWeightLag < pages) {
        weigh(step - kWeightLag);
        spread(step - kWeightLag, step + 1);
      }
      settle_stores();
    }
  }
};

// The walk of up to eight queries: what all of them see whole in streams, the rest split by split.
template <int kFormat>
struct StreamedWalk : TileWalk<kFormat, false> {
  static SlotRange whole_splits(const AttentionTask& t) {
    if (t.bias || t.valid || (t.layout.head_dim != 64 && t.layout.head_dim != 128)) return {0, 0};
    const int64_t lowest = t.before + t.first, highest = lowest + t.rows - 1;  // the last slots that rows see
    const int64_t from = t.window > 0 && highest - t.window + 1 > 0 ? highest - t.window + 1 : 0;
    return intersect({(from + kSplitSlots - 1) / kSplitSlots, (lowest + 1) / kSplitSlots},
                     {t.split_begin, t.split_end});
  }
  static int64_t walk_many(const AttentionTask& t, TileScratch& s, int vectors, int64_t split) {
    const SlotRange whole = whole_splits(t);
    if (split != whole.begin || whole.end - whole.begin < 2) return split;
    if (t.layout.head_dim == 128)
      TileStream<kFormat, 128>(t, s, vectors, whole).run();
    else
      TileStream<kFormat, 64>(t, s, vectors, whole).run();
    return whole.end;
  }
};

template <int kFormat>
void attention_on_tiles(const AttentionTask& t) {
  if (t.rows * t.heads > kTileRows / 2) return attention_as<TileWalk<kFormat, true>>(t);
  attention_as<StreamedWalk<kFormat>>(t);
}

void attention_with_tiles(const AttentionTask& t) {
  if (t.layout.format == kBf16) return attention_on_tiles<kBf16>(t);
  if (t.layout.format == kI8) return attention_on_tiles<kI8>(t);
  attention<Amx>(t);
}

}  // namespace
}  // namespace leadline::worker::cpu
