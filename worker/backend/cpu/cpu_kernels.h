#pragma once
// The CPU kernel table: one plain function per op over a part of its work, and the plain structs that carry
// arguments. Not the thread split (cpu_backend.cpp) and not the packing of weights (packed_weights.h).
// Included by translation units built with -mavx...: only plain data here, no inline functions and no library
// headers, so that no code built for a newer CPU can be linked into the baseline program. Invariants: every
// table computes the same bits, unless its `arithmetic` says otherwise: 16 logical lanes everywhere, fused
// multiply-add everywhere, fixed orders.

#include <stdint.h>

namespace leadline::worker::cpu {

constexpr int kPanel = 32;          // outputs of one packed weight panel: element (k, j) at [k * kPanel + j]
constexpr int kBlockK = 128;        // k of one widened block; does not change the order of a sum
constexpr int kBlockPanels = 4;     // panels of one blocked item
constexpr int kBlockMaxRows = 256;  // rows of one blocked item, at most
constexpr int kTileRows = 16;       // rows of one matrix tile, and of one packed group for tiles
constexpr int kTilePanels = 8;      // panels of one blocked item on matrix tiles
constexpr int kTileOutputs = 16;    // outputs of one matrix tile
// Read ahead of a product of few rows. Less than a small page: what is fetched beyond the page at hand takes
// the hardware's own fetching from it, which costs a fifth (docs/performance.md).
constexpr int kStreamBytes = 1024;
constexpr int kTreeLevels = 8;  // partial sums alive in the slice tree: up to 2^7 slices
constexpr int kSplitSlots =
    256;  // KV slots of one attention split: 16 pages, counted from slot 0 (exactness X1)
constexpr int kPageSlots = 16;
constexpr int kAttentionTile = 16;  // query vectors (row, head) that share one walk over the pages

enum Format { kF32 = 0, kBf16 = 1, kF16 = 2, kI8 = 3, kI4 = 4 };  // the values of DType

// int8: symmetric groups of kGroup weights along k, ending at slices (the last group of a slice is filled
// with zeros). A block is one group of a panel: kGroup / 4 rows of (kPanel outputs x 4 bytes), each byte
// weight + 128, then kPanel bf16 scales. Activations are quantised by the same groups: for the m rows of a
// row group, (kGroup / 4, m) words of 4 signed bytes, (m) f32 scales, (m) int32 offsets -128 * sum, which
// undo the + 128. Sums within a group are exact integers.
constexpr int kGroup = 64;
constexpr int kInt8Block = kGroup * kPanel + 2 * kPanel;  // bytes
constexpr int kInt8RowBytes = kGroup + 8;                 // of one row and group of packed activations
constexpr int kInt8Slack = 16 * kGroup;  // bytes readable past packed activations: a tile reads 16 rows
constexpr int kInt8Groups = 8;           // groups of one blocked pass

// int4: int8's groups with sixteen values instead of 256. A block is kGroup / 8 rows of (kPanel outputs x 4
// bytes): row i holds int8's row i in the low halves of its bytes and row i + kGroup / 8 in the high ones;
// then kPanel bf16 scales, which may be negative. A code c stands for kInt4Codebook[c] - 128: the levels that
// lose least of normally distributed weights scaled by their largest (Lloyd 1982, least squares quantization
// in PCM; fitted over groups of 64, one level held at 0 so that a zero stays one). Activations and sums are
// int8's.
constexpr int kInt4Block = kGroup / 2 * kPanel + 2 * kPanel;  // bytes
constexpr uint8_t kInt4Codebook[16] = {1,   30,  51,  67,  82,  94,  106, 117,
                                       128, 139, 151, 164, 177, 193, 212, 236};
constexpr int64_t group_block(int format) {
  return format == kI4 ? kInt4Block : kInt8Block;
}
constexpr int64_t int8_groups(int64_t k, int slices) {
  return slices * ((k / slices + kGroup - 1) / kGroup);
}

// bf16 in pairs (tables with CpuKernels::split_group: tiles and VDPBF16PS): steps of kBf16Step along k,
// ending at slices (the last step of a slice is filled with zeros). A panel's step is a tile of its first 16
// outputs, then one of the others: kBf16Step / 2 pairs of k, each (kTileOutputs outputs x 2 values), so that
// a tile is read in the order of memory; a row group's m rows are (steps, 2, m, kBf16Step) values: roundings,
// then what they leave.
constexpr int kBf16Step = 32;
constexpr int kBf16StepBytes = kBf16Step * 2;       // of one row of roundings
constexpr int kBf16RowBytes = 2 * kBf16StepBytes;   // of one row and step of packed activations
constexpr int kBf16Block = kBf16Step * kPanel * 2;  // bytes of a panel
constexpr int kBf16TileBytes = kBf16Step * kTileOutputs * 2;
constexpr int kBf16Slack = kTileRows * kBf16StepBytes;  // readable past packed activations
constexpr int64_t bf16_steps(int64_t k, int slices) {
  return slices * ((k / slices + kBf16Step - 1) / kBf16Step);
}

// A product of packed activations with panels [panel_begin, panel_end). Rows are packed in `groups` groups of
// nearly equal size (rows * g / groups ...); group g of m rows, first row r: element (k, i) at x[r * k_total
// + k * m + i].
struct LinearTask {
  const void* x;  // f32, or packed int8 activations: row group with first row r at
                  // r * int8_groups * kInt8RowBytes; bf16 tiles: at r * bf16_steps * kBf16RowBytes
  int64_t rows, k, n;
  int groups;
  int group_begin, group_end;  // the groups to do
  const void* weights;         // packed panels
  int format;
  int slices;         // equal cuts along k, summed in one binary tree
  const float* bias;  // (n) or null
  float* out;         // (rows, n), out_stride
  int64_t out_stride;
  int64_t panel_begin, panel_end;
  float* scratch;  // kLinearScratchFloats, this thread's own
};
constexpr int64_t kLinearSumFloats = int64_t{kTreeLevels} * kBlockMaxRows * kTilePanels * kPanel;
constexpr int64_t kTilePanelBytes = int64_t{kInt8Groups} * kInt8Block;  // a chunk of int4 spread to int8
constexpr int64_t kLinearScratchFloats =
    kLinearSumFloats + (kTilePanels * kTilePanelBytes / 4 > int64_t{kBlockK} * kPanel
                            ? kTilePanels * kTilePanelBytes / 4
                            : int64_t{kBlockK} * kPanel);

// One KV unit: K as [head_dim][16], then V as [16][padded_dim], both of `format`; offsets in bytes. kI8: a
// slot of K, and one of V, is signed bytes times one scale (X1: per token and head), then come f32 scales: 16
// of K, 16 of V.
struct UnitLayout {
  int head_dim, padded_dim;  // padded_dim: head_dim up to a multiple of 16
  int format;
  int64_t unit_bytes, v_offset, scale_offset;
};

// Where a unit lies in the pool, in units: a head's units of kPageRun neighbouring pages side by side, so
// that a context is long streams of memory, and few pages of a sequence touch few huge pages.
constexpr uint32_t kPageRun = 32;
constexpr int64_t unit_place(uint32_t unit, uint32_t per_page) {
  if (per_page == 1) return unit;
  const uint32_t page = unit / per_page, head = unit % per_page, within = page % kPageRun;
  return int64_t{page - within} * per_page + int64_t{head} * kPageRun + within;
}

// Query vectors of consecutive rows of one sequence against one KV head, over splits [split_begin,
// split_end). Slot s is page s / 16, offset s % 16. Slots below `before` end at valid[page] if given, and
// carry bias[s] if given.
struct AttentionTask {
  const float* q;  // (rows, heads, head_dim) with q_stride between rows
  int64_t q_stride;
  int rows, heads;  // rows * heads <= kAttentionTile
  float scale;
  UnitLayout layout;
  const uint8_t* pool;
  const uint32_t* table;  // unit of page p = table[p] * unit_scale + unit_base
  uint32_t unit_scale, unit_base;
  uint32_t per_page;     // units; unit u lies at unit_place(u, per_page)
  const uint8_t* valid;  // per page, or null
  const float* bias;     // per slot below `before`, or null
  int64_t before;        // slots of this head before this step
  int64_t first;         // row r sees slots <= before + first + r
  int64_t window;        // 0: all; else only slots > (before + first + r) - window
  int64_t split_begin, split_end;
  float* state;    // per query vector: max, sum, then padded_dim values; carried over the splits
  float* scratch;  // kAttentionScratchFloats(head_dim)
};
constexpr int64_t attention_state_floats(int padded_dim) {
  return 16 + int64_t{padded_dim};
}
// Vectors: q, scores, values; matrix tiles besides: q and probabilities in two parts, a block's keys and
// values, sums, copies of pages (attention_impl.h says where).
constexpr int64_t attention_tile_bytes(int padded_dim) {
  return (int64_t{padded_dim} + kBf16Step - 1) / kBf16Step * (2 * kAttentionTile * kBf16StepBytes + 4096) +
         int64_t{kSplitSlots} * kAttentionTile * 4 + 8192 + 4096 + int64_t{kSplitSlots} * padded_dim * 2;
}
constexpr int64_t attention_scratch_floats(int padded_dim) {
  return int64_t{kAttentionTile} * (2 * int64_t{padded_dim} + kSplitSlots + 16) +
         attention_tile_bytes(padded_dim) / 4;
}

struct CpuKernels {
  const char* name;
  int group_rows;          // rows of one packed group, at most
  int direct_rows;         // up to here a product reads weights straight from their format
  int int_group_rows;      // rows of one packed group of int8 activations, at most
  bool int_tiles;          // int8 and int4 products of several groups are blocked for matrix tiles
  const char* arithmetic;  // what sets its bits apart from the other tables' (null: nothing)

  void (*pack_group)(const float* x, int64_t row_stride, int rows, int64_t k, float* packed);
  void (*quantize_group)(const float* x, int64_t row_stride, int rows, int64_t k, int slices, void* packed);
  // One group of `count` weights: kGroup codes into kInt4Codebook, and the scale (bf16) that loses least.
  uint16_t (*quantize_int4)(const float* weights, int count, uint8_t* codes);
  // Null, or bf16 weights are packed in steps of pairs and activations in two parts by this, split_rows rows
  // at most to a group; split_tiles: products of several groups are blocked for matrix tiles.
  void (*split_group)(const float* x, int64_t row_stride, int rows, int64_t k, int slices, void* packed);
  int split_rows;
  bool split_tiles;
  void (*linear)(const LinearTask&);
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* out);
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // residual[i] += tree over ranks of partials[r * rank_stride + i] (+ bias[i])
  void (*add_partials)(const float* partials, int ranks, int64_t rank_stride, const float* bias, int64_t n,
                       float* residual);
  void (*rotate)(float* x, const float* cosines, const float* sines, int64_t half);
  void (*widen)(const void* from, int format, int64_t n, float* to);
  void (*narrow)(const float* from, int format, int64_t n, void* to);
  // One slot of int8 pages: bytes (n up to a multiple of 16, the rest zeros) and their scale.
  void (*quantize_slot)(const float* x, int64_t n, uint8_t* bytes, float* scale);
  void (*attention)(const AttentionTask&);
  // state += one more split's state, in the order of splits; empty (max = -inf) states change nothing
  void (*attention_merge)(float* state, const float* split, int padded_dim);
  void (*attention_finish)(const float* state, int head_dim, float* out, float* lse);  // lse may be null
};

extern const CpuKernels kScalarKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512VnniKernels;
extern const CpuKernels kAvx512Bf16Kernels;
extern const CpuKernels kAmxKernels;
extern const CpuKernels kAmxBf16Kernels;

}  // namespace leadline::worker::cpu
