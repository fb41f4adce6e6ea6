#include "worker/backend/cuda/kernel_select.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::worker::cuda {

ProductChoice choose_product(std::int32_t weight_format, ProductClass product_class, bool fp8_units) {
  switch (weight_format) {
    case kI4:
      return product_class == ProductClass::decode ? ProductChoice{ProductPath::int4_fused, kF32}
                                                   : ProductChoice{ProductPath::widened, kBf16};
    case kFp8:
      return fp8_units ? ProductChoice{ProductPath::dense, kFp8} : ProductChoice{ProductPath::widened, kBf16};
    default:
      return {ProductPath::dense, weight_format};
  }
}

std::int64_t padded_k(std::int64_t width, std::int32_t weight_format) {
  const std::int64_t unit = weight_format == kI4 ? kInt4Group : weight_format == kF32 ? 4 : 16;
  return (width + unit - 1) / unit * unit;
}

KernelId attention_kernel(std::int32_t page_format, int vectors) {
  KernelId first = KernelId::attention_f32_1;
  if (page_format == kBf16) first = KernelId::attention_bf16_1;
  if (page_format == kF16) first = KernelId::attention_f16_1;
  if (page_format == kI8) first = KernelId::attention_i8_1;
  if (page_format == kFp8) first = KernelId::attention_fp8_1;
  const int step = vectors <= 1 ? 0 : vectors <= 2 ? 1 : vectors <= 4 ? 2 : 3;
  LEADLINE_CHECK(vectors <= kMaxTileVectors, "a tile of more vectors than a walk holds");
  return static_cast<KernelId>(static_cast<int>(first) + step);
}

std::int64_t attention_shared_bytes(int vectors, int head_dim) {
  const int held = vectors <= 1 ? 1 : vectors <= 2 ? 2 : vectors <= 4 ? 4 : 8;
  int groups = 1;  // as value_groups() in kv_kernels.h
  while (groups < 16 && groups * 2 * (head_dim / 8) <= kAttentionThreads) groups *= 2;
  const std::int64_t floats = std::int64_t{held} * head_dim * (groups + 2) + held * kSplitSlots + 2 * held;
  return floats * 4;
}

KernelId prefill_kernel(std::int32_t page_format, int head_dim) {
  if (head_dim != 64 && head_dim != 128) return KernelId::count;
  const bool wide = head_dim == 128;
  switch (page_format) {
    case kBf16:
      return wide ? KernelId::attention_prefill_bf16_128 : KernelId::attention_prefill_bf16_64;
    case kI8:
      return wide ? KernelId::attention_prefill_i8_128 : KernelId::attention_prefill_i8_64;
    case kFp8:
      return wide ? KernelId::attention_prefill_fp8_128 : KernelId::attention_prefill_fp8_64;
    default:
      return KernelId::count;
  }
}

std::int64_t prefill_shared_bytes(int head_dim) {  // as PrefillMemory in prefill_kernels.h
  const std::int64_t row = head_dim + 8, column = kPrefillSlots + 8;
  return ((2 * kPrefillVectors + kPrefillSlots) * row + head_dim * column) * 2 + 2 * kPrefillSlots * 4 + 4;
}

std::vector<TileWords> attention_tiles(std::span<const SequenceRows> sequences, int group, int most,
                                       TileRows which) {
  std::vector<TileWords> tiles;
  const int chunks = (group + most - 1) / most;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (which != TileRows::all && sequences[i].decode != (which == TileRows::decodes)) continue;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const std::int32_t head = group * chunk / chunks, heads = group * (chunk + 1) / chunks - head;
      const std::int32_t rows = most / heads;
      for (std::int32_t row = 0; row < sequences[i].rows; row += rows)
        tiles.push_back(
            {static_cast<std::int32_t>(i), row, std::min(rows, sequences[i].rows - row), head, heads});
    }
  }
  return tiles;
}

int widest_tile(std::span<const TileWords> tiles) {
  int widest = 1;
  for (const TileWords& tile : tiles) widest = std::max(widest, tile.rows * tile.heads);
  return widest;
}

SplitChoice choose_splits(std::int64_t longest_slots, std::int64_t blocks, std::int64_t state_bytes_per_split,
                          int multiprocessors) {
  SplitChoice choice;
  const std::int64_t splits = std::max<std::int64_t>(1, (longest_slots + kSplitSlots - 1) / kSplitSlots);
  while (choice.max_splits < splits) choice.max_splits *= 2;
  choice.stored = splits > 1 && blocks < std::int64_t{4} * multiprocessors && choice.max_splits < 65536 &&
                  state_bytes_per_split * choice.max_splits <= kMaxStateBytes;
  return choice;
}

Grid rows_by_columns(std::int64_t rows, std::int64_t columns) {
  return {rows, (columns + kRowThreads - 1) / kRowThreads, 1};
}

}  // namespace leadline::worker::cuda
