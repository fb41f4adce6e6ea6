#pragma once
// Which kernel computes what, with which geometry: pure functions of capability, shape and format. Not
// launches. Thread: any. Invariant (X1): nothing here depends on a row count in a way that changes a row's
// bits: row counts choose grids and who shares a walk, never the arithmetic; the class of a product is the
// caller's (ProductClass).

#include <cstdint>
#include <span>
#include <vector>

#include "worker/backend/cuda/runtime.h"
#include "worker/backend/kv_view.h"

namespace leadline::worker::cuda {

constexpr int kMinMajor = 8;        // sm_80: bf16 matrix units
constexpr int kMaxHeadDim = 256;    // shared memory of a walk
constexpr int kMaxDecodeRows = 16;  // rows of one sequence that count as decode or verification

// How a product with weights of `format` runs.
enum class ProductPath : std::uint8_t {
  dense,       // cuBLASLt on the weights as they are
  int4_fused,  // own kernel that dequantises as it goes
  widened,     // weights widened to bf16 first, then dense
};
struct ProductChoice {
  ProductPath path = ProductPath::dense;
  std::int32_t compute_format = kBf16;  // of x and w in the product
};
ProductChoice choose_product(std::int32_t weight_format, ProductClass product_class, bool has_fp8_units);

// fp8 units: sm_89 and later have them; cuBLASLt takes them from there on.
constexpr bool has_fp8_units(int major, int minor) {
  return major > 8 || (major == 8 && minor >= 9);
}

// Elements to which a slice's k is padded, so that every row of every slice starts at 16 bytes.
std::int64_t padded_k(std::int64_t width, std::int32_t weight_format);

// The smallest of 1, 2, 4, 8 that holds `vectors`.
KernelId attention_kernel(std::int32_t page_format, int vectors);
std::int64_t attention_shared_bytes(int vectors, int head_dim);
// Of prompt rows on the matrix units; KernelId::count where they take attention_kernel: f32 and f16 pages,
// other head sizes.
KernelId prefill_kernel(std::int32_t page_format, int head_dim);
std::int64_t prefill_shared_bytes(int head_dim);
// Query heads of one KV head are cut into chunks of at most `most`; rows fill what is left.
enum class TileRows : std::uint8_t { all, prompts, decodes };
std::vector<TileWords> attention_tiles(std::span<const SequenceRows> sequences, int group,
                                       int most = kMaxTileVectors, TileRows which = TileRows::all);
int widest_tile(std::span<const TileWords> tiles);

// Whether splits are stored apart and joined by a second kernel (few tiles over long contexts) or joined in
// the block. Changes no bit.
struct SplitChoice {
  bool stored = false;
  std::int32_t max_splits = 1;  // a power of two, so that graphs serve a range of lengths
};
SplitChoice choose_splits(std::int64_t longest_slots, std::int64_t blocks, std::int64_t state_bytes_per_split,
                          int multiprocessors);
constexpr std::int64_t kMaxStateBytes = std::int64_t{64} << 20;

Grid rows_by_columns(std::int64_t rows, std::int64_t columns);

}  // namespace leadline::worker::cuda
