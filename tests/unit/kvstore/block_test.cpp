#include "kvstore/block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/support/sample_block.h"

namespace leadline::kvstore {
namespace {

using tests::sample_block;
using tests::sample_header;

std::vector<std::byte> copy_of(const BlockPtr& block) {
  return {block->bytes().begin(), block->bytes().end()};
}

TEST(Block, ParsesBackToTheSame) {
  const BlockPtr block = sample_block(1, 3, 2, 777);
  auto back = Block::parse(block->bytes());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ((*back)->header(), block->header());
  EXPECT_EQ((*back)->header().raw_bytes, 777U);
  EXPECT_TRUE(std::ranges::equal((*back)->payload(), block->payload()));
  EXPECT_EQ((block->bytes().size() - block->payload().size()) % 64, 0U);
}

// The bytes of version 1 are frozen: a change needs a new version (docs/formats/kv_block.md).
TEST(Block, GoldenBytes) {
  const std::string path = std::string(LEADLINE_SOURCE_DIR) + "/tests/golden/kv_block/block_v1.bin";
  const BlockPtr block = sample_block(1, 3, 2, 96, 1'900'000'000);
  if (std::getenv("LEADLINE_WRITE_GOLDENS") != nullptr)
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(block->bytes().data()),
               static_cast<std::streamsize>(block->bytes().size()));
  std::ifstream in(path, std::ios::binary);
  const std::string want{std::istreambuf_iterator<char>(in), {}};
  ASSERT_FALSE(want.empty()) << path;
  const std::string got(reinterpret_cast<const char*>(block->bytes().data()), block->bytes().size());
  EXPECT_TRUE(got == want) << "the block's bytes changed";
  auto parsed = Block::parse(std::as_bytes(std::span(want)));
  ASSERT_TRUE(parsed);
  EXPECT_EQ((*parsed)->header(), block->header());
}

TEST(Block, EveryCutIsRefused) {
  const BlockPtr block = sample_block(1, 0, 0, 200);
  for (std::size_t n = 0; n < block->bytes().size(); ++n)
    EXPECT_FALSE(Block::parse(block->bytes().first(n))) << "the first " << n << " bytes";
  std::vector<std::byte> longer = copy_of(block);
  longer.push_back(std::byte{0});
  EXPECT_FALSE(Block::parse(longer));
}

// A torn write leaves the first n bytes new and the rest as it was: zeros, or another block of the same
// length.
TEST(Block, TornAtEveryOffsetIsRefused) {
  const BlockPtr block = sample_block(1, 0, 0, 200), other = sample_block(2, 5, 1, 200);
  ASSERT_EQ(block->bytes().size(), other->bytes().size());
  const std::vector<std::byte> whole = copy_of(block), old = copy_of(other);
  for (const bool zeros : {true, false}) {
    for (std::size_t n = 1; n < whole.size(); ++n) {
      std::vector<std::byte> torn = zeros ? std::vector<std::byte>(whole.size()) : old;
      std::copy_n(whole.begin(), n, torn.begin());
      if (torn == whole || torn == old) continue;
      EXPECT_FALSE(Block::parse(torn)) << "torn at " << n;
    }
  }
}

TEST(Block, TenThousandBitFlipsAreRefused) {
  const BlockPtr block = sample_block(3, 1, 0, 4096);
  std::vector<std::byte> bytes = copy_of(block);
  std::mt19937 rng(7);
  for (int i = 0; i < 10'000; ++i) {
    const std::size_t bit = rng() % (bytes.size() * 8);
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(Block::parse(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
  for (std::size_t bit = 0; bit < 512 * 8; ++bit) {  // and each one of the header
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(Block::parse(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
  EXPECT_TRUE(Block::parse(bytes));
}

TEST(Block, TheHeaderAloneSaysWhatIsWrong) {
  const BlockPtr block = sample_block(1, 0, 0, 200);
  const auto first = block->bytes().first(block->bytes().size() - 200);
  auto header = parse_block_header(first, block->bytes().size());
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(*header, block->header());
  EXPECT_EQ(parse_block_header(first, block->bytes().size() - 1).error().message, "block: payload_bytes");
  std::vector<std::byte> skewed(first.begin(), first.end());
  skewed[4] = std::byte{2};
  EXPECT_EQ(parse_block_header(skewed, block->bytes().size()).error().message, "block: version");
}

TEST(Block, ForeignFieldsAreNamed) {
  const BlockHeader mine = sample_header(1, 2, 0);
  EXPECT_EQ(foreign_field(mine, mine), "");
  BlockHeader other = mine;
  other.fingerprint = "another ISA level";
  EXPECT_EQ(foreign_field(other, mine), "fingerprint");
  other = mine;
  other.id.head = 1;
  EXPECT_EQ(foreign_field(other, mine), "id");
  other = mine;
  other.layout = "cuda/1";
  EXPECT_EQ(foreign_field(other, mine), "layout");
  other = mine;
  other.compression = "semanticache";
  EXPECT_EQ(foreign_field(other, mine), "compression");
}

}  // namespace
}  // namespace leadline::kvstore
