// Which kernel, with which geometry: as tables; and that nothing of it depends on the row count.

#include "worker/backend/cuda/kernel_select.h"

#include <gtest/gtest.h>

namespace leadline::worker::cuda {
namespace {

SequenceRows rows_of(std::int32_t rows) {
  SequenceRows s;
  s.rows = rows;
  return s;
}

TEST(KernelSelect, ProductsByFormatClassAndChip) {
  struct Row {
    std::int32_t format;
    ProductClass product_class;
    bool fp8_units;
    ProductPath path;
    std::int32_t compute;
  };
  const Row table[] = {
      {kF32, ProductClass::prefill, true, ProductPath::dense, kF32},
      {kBf16, ProductClass::decode, false, ProductPath::dense, kBf16},
      {kF16, ProductClass::prefill, false, ProductPath::dense, kF16},
      {kFp8, ProductClass::decode, true, ProductPath::dense, kFp8},
      {kFp8, ProductClass::prefill, false, ProductPath::widened, kBf16},
      {kI4, ProductClass::decode, true, ProductPath::int4_fused, kF32},
      {kI4, ProductClass::prefill, true, ProductPath::widened, kBf16},
  };
  for (const Row& row : table) {
    const ProductChoice choice = choose_product(row.format, row.product_class, row.fp8_units);
    EXPECT_EQ(choice.path, row.path) << row.format;
    EXPECT_EQ(choice.compute_format, row.compute) << row.format;
  }
  EXPECT_FALSE(has_fp8_units(8, 0));
  EXPECT_FALSE(has_fp8_units(8, 6));
  EXPECT_TRUE(has_fp8_units(8, 9));
  EXPECT_TRUE(has_fp8_units(9, 0));
}

TEST(KernelSelect, EverySliceStartsAtSixteenBytes) {
  for (std::int64_t width : {1, 7, 16, 33, 512, 1791}) {
    for (std::int32_t format : {kF32, kBf16, kF16, kFp8}) {
      const std::int64_t bytes = format == kF32 ? 4 : format == kFp8 ? 1 : 2;
      EXPECT_EQ(padded_k(width, format) * bytes % 16, 0);
      EXPECT_GE(padded_k(width, format), width);
      EXPECT_LT(padded_k(width, format), width + 16);
    }
    EXPECT_EQ(padded_k(width, kI4) % kInt4Group, 0);
  }
}

TEST(KernelSelect, AttentionKernelsHoldTheirVectors) {
  EXPECT_EQ(attention_kernel(kF32, 1), KernelId::attention_f32_1);
  EXPECT_EQ(attention_kernel(kBf16, 3), KernelId::attention_bf16_4);
  EXPECT_EQ(attention_kernel(kF16, 2), KernelId::attention_f16_2);
  EXPECT_EQ(attention_kernel(kI8, 8), KernelId::attention_i8_8);
  EXPECT_EQ(attention_kernel(kFp8, 5), KernelId::attention_fp8_8);
  for (int dim = 8; dim <= kMaxHeadDim; dim += 8) EXPECT_LE(attention_shared_bytes(8, dim), 99 << 10) << dim;
}

TEST(KernelSelect, TilesCoverEveryRowAndHeadOnce) {
  for (int group : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17}) {
    const std::vector<SequenceRows> sequences = {rows_of(1), rows_of(13), rows_of(8)};
    std::vector<std::vector<int>> seen(3);
    for (std::size_t i = 0; i < 3; ++i)
      seen[i].assign(static_cast<std::size_t>(sequences[i].rows * group), 0);
    for (const TileWords& tile : attention_tiles(sequences, group)) {
      EXPECT_LE(tile.rows * tile.heads, kMaxTileVectors);
      for (std::int32_t r = tile.row; r < tile.row + tile.rows; ++r)
        for (std::int32_t h = tile.head; h < tile.head + tile.heads; ++h)
          ++seen[static_cast<std::size_t>(tile.sequence)][static_cast<std::size_t>(r * group + h)];
    }
    for (const auto& counts : seen)
      for (const int count : counts) EXPECT_EQ(count, 1) << group;
  }
}

TEST(KernelSelect, SplitsAreStoredForFewBlocksOverLongContexts) {
  EXPECT_FALSE(choose_splits(200, 8, 1000, 132).stored) << "one split";
  const SplitChoice decode = choose_splits(4096, 8, 32 * 130 * 4, 132);
  EXPECT_TRUE(decode.stored);
  EXPECT_EQ(decode.max_splits, 16);
  EXPECT_EQ(choose_splits(4097, 8, 1, 132).max_splits, 32) << "powers of two, so that recorded steps last";
  EXPECT_FALSE(choose_splits(4096, 4096, 1000, 132).stored) << "blocks enough without";
  EXPECT_FALSE(choose_splits(1 << 20, 8, kMaxStateBytes / 100, 132).stored) << "more states than memory";
}

TEST(KernelSelect, PromptRowsTakeTheMatrixUnitsWhereTheirPagesAllow) {
  EXPECT_EQ(prefill_kernel(kBf16, 128), KernelId::attention_prefill_bf16_128);
  EXPECT_EQ(prefill_kernel(kFp8, 64), KernelId::attention_prefill_fp8_64);
  EXPECT_EQ(prefill_kernel(kI8, 64), KernelId::attention_prefill_i8_64);
  EXPECT_EQ(prefill_kernel(kF32, 128), KernelId::count);
  EXPECT_EQ(prefill_kernel(kF16, 128), KernelId::count);
  EXPECT_EQ(prefill_kernel(kBf16, 80), KernelId::count);
  EXPECT_LE(prefill_shared_bytes(128), 64 << 10) << "two blocks a multiprocessor, on sm_80 too";
}

TEST(KernelSelect, TilesCoverPromptsAndDecodesApart) {
  std::vector<SequenceRows> sequences(2);
  sequences[0].rows = 40;
  sequences[1].first_row = 40;
  sequences[1].rows = 3;
  sequences[1].decode = true;
  int vectors = 0;
  for (const TileWords& tile : attention_tiles(sequences, 4, kPrefillVectors, TileRows::prompts)) {
    EXPECT_EQ(tile.sequence, 0);
    EXPECT_LE(tile.rows * tile.heads, kPrefillVectors);
    vectors += tile.rows * tile.heads;
  }
  EXPECT_EQ(vectors, 160);
  for (const TileWords& tile : attention_tiles(sequences, 4, kMaxTileVectors, TileRows::decodes))
    EXPECT_EQ(tile.sequence, 1);
}

}  // namespace
}  // namespace leadline::worker::cuda
