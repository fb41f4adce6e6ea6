#pragma once
// What each kernel is told: one plain struct per kernel, passed by value, and the kernels' names. Not code:
// included by host and device alike. Pointers are device memory. Thread: values.
// Invariant: a struct has no padding that matters and only 4- and 8-byte fields, so that a recorded launch
// can be compared byte by byte.

#include <cstdint>

#include "worker/backend/token_choice.h"

namespace leadline::worker::cuda {

// The storage formats of weights in products and of KV pages. Values as in DType.
enum : std::int32_t { kF32 = 0, kBf16 = 1, kF16 = 2, kI8 = 3, kI4 = 4, kFp8 = 7 };

constexpr int kPageSlots = 16;       // kPageTokens
constexpr int kSplitSlots = 256;     // attention walks KV in splits of so many slots, always cut at multiples
constexpr int kMaxTileVectors = 8;   // query vectors that share one walk
constexpr int kPrefillVectors = 64;  // the same of prompt rows on the matrix units
constexpr int kPrefillSlots = 32;    // and the slots of a block of theirs
constexpr int kAttentionThreads = 128;
constexpr int kRowThreads = 256;
constexpr int kChoiceThreads = 512;
constexpr std::int32_t kInt4Group = 32;  // weights that share a scale; ends at slices

struct EmbedArgs {
  const void* table;
  const std::int32_t* ids;  // (rows)
  float* out;
  std::int64_t table_stride, out_stride, cols;  // elements
  std::int32_t format, rows;
};

struct RmsNormArgs {
  const float* x;
  const float* weight;
  float* out;
  std::int64_t x_stride, out_stride, cols;
  float eps;
  std::int32_t rows;
};

// x (rows, slices * width) f32 -> (slices, rows, padded) of `format`, zeros beyond width.
struct CastArgs {
  const float* x;
  void* out;
  float* scales;  // fp8: (rows), one per row over all slices; else null
  std::int64_t x_stride, width, padded;
  std::int32_t format, rows, slices, reserved;
};

// out = tree sum over `count` parts (+ bias) (+ out, if `add`); parts are (count, rows, cols), dense.
struct TreeSumArgs {
  const float* parts;
  const float* bias;  // or null
  float* out;
  std::int64_t out_stride, cols;
  std::int32_t count, rows, add, reserved;
};

// out[r, c] += bias[c], first out *= row_scale[r] * column_scale[c] where those are given (fp8 products).
struct EpilogueArgs {
  float* out;
  const float* bias;          // or null
  const float* row_scale;     // or null
  const float* column_scale;  // or null
  std::int64_t out_stride, cols;
  std::int32_t rows, reserved;
};

struct SiluMulArgs {
  const float* gate_up;
  float* out;
  std::int64_t in_stride, out_stride, cols;
  std::int32_t rows, reserved;
};

struct GatherRowsArgs {
  const float* x;
  const std::int32_t* ids;  // rows of x; null: 0, 1, 2, ...
  const std::int32_t* to;   // rows of out; null: 0, 1, 2, ...
  float* out;
  std::int64_t x_stride, out_stride, cols;
  std::int32_t rows, reserved;
};

// int4 weights, two per byte, f32 scale and minimum-free groups of kInt4Group: small batches.
struct Int4ProductArgs {
  const float* x;               // (rows, K)
  const std::uint8_t* weights;  // (slices, N, padded / 2)
  const float* scales;          // (slices, N, padded / kInt4Group)
  float* out;                   // (slices, rows, N)
  std::int64_t x_stride, width, padded, n;
  std::int32_t rows, slices;
};

// int4 or fp8 weights -> bf16 (slices, N, padded), for products of many rows and for chips without fp8.
struct WidenWeightsArgs {
  const std::uint8_t* weights;
  const float* scales;
  void* out;
  std::int64_t count, padded;  // elements in all, and of one row of one slice
  std::int32_t format, reserved;
};

// One sequence of the step, in the step's table image (u32 words). Offsets are in words from the image's
// start; kNone: absent.
constexpr std::uint32_t kNone = 0xffffffffu;
struct SequenceWords {
  std::int32_t first_row, rows, first_position, kv_before;
  std::uint32_t table, head_stride, scale, base, head_step;
  std::uint32_t valid;    // bytes, four to a word, indexed as the table
  std::uint32_t lengths;  // (kv_heads)
  std::uint32_t bias;     // (kv_heads) device addresses, two words each
};
constexpr std::uint32_t kSequenceWords = 12;
static_assert(sizeof(SequenceWords) == kSequenceWords * 4);

// A tile of query vectors: rows [row, row + rows) of a sequence, heads [head, head + heads) of every KV
// head's group.
struct TileWords {
  std::int32_t sequence, row, rows, head, heads;
};
constexpr std::uint32_t kTileWords = 5;
static_assert(sizeof(TileWords) == kTileWords * 4);

// The image: sequences at 0, then what they point to, row_sequence at `rows_at`, tiles at `tiles_at`.
struct StepImage {
  const std::uint32_t* words;
  std::uint32_t rows_at, tiles_at;
  std::uint32_t base_shift;  // added to every sequence's base: the layer at hand
  std::int32_t sequences;
};

// Where K and V of a unit are: K (16, head_dim), V (16, head_dim), then for i8 and fp8 16 scales of K, 16 of
// V.
struct UnitPlace {
  std::uint8_t* pool;
  std::int64_t unit_bytes, v_offset, scale_offset;
};

struct RopeArgs {
  float* qkv;
  const float* cos;
  const float* sin;
  const float* q_norm;  // or null
  const float* k_norm;  // or null
  StepImage step;
  UnitPlace kv;
  std::int64_t qkv_stride;
  std::int32_t rows, query_heads, kv_heads, head_dim;
  float eps;
  std::int32_t format;
};

struct AttentionArgs {
  const float* qkv;
  float* out;
  float* lse;     // or null
  float* states;  // (rows, query_heads, max_splits, head_dim + 2) when splits are stored; null: joined in the
                  // block
  StepImage step;
  UnitPlace kv;
  std::int64_t qkv_stride, out_stride;
  std::int32_t query_heads, kv_heads, head_dim, window, max_splits;
  float scale;
};

struct MergeArgs {
  const float* states;
  float* out;
  float* lse;
  StepImage step;
  std::int64_t out_stride;
  std::int32_t rows, query_heads, kv_heads, head_dim, window, max_splits;
};

// Features of logits rows, for the exit policy and for log-probabilities: without copying logits to the host.
struct FeaturesArgs {
  const float* logits;
  LogitFeatures* out;  // (rows)
  std::int64_t stride;
  std::int32_t rows, vocab;
};

// Tokens from logits rows; `work` holds a row each.
struct ChooseArgs {
  const float* logits;
  float* work;  // (rows, vocab)
  const TokenChoiceRow* rows;
  const LogitEdit* edits;
  TokenChoice* out;  // (rows)
  std::int64_t stride;
  std::int32_t vocab, reserved;
};

}  // namespace leadline::worker::cuda
