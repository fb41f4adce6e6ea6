#include "worker/model/packed_file.h"

#include <gtest/gtest.h>

#include <cstring>

namespace leadline::worker {
namespace {

PackedHeader sample() {
  PackedHeader header;
  header.key = {"0123", "int8", "aabb", 1, 2, 4, 4};
  header.digests = {1, 2, ~std::uint64_t{0}, 4};
  header.stamps = {{"model.safetensors", 1000, -5, 1'700'000'000'000'000'000, 42}};
  header.entries = {{"first", {33, 64, DType::i8, 1}, 5000, 0, {7}},
                    {"empty", {0, 64, DType::f32, 1}, 0, 0, {}},
                    {"large", {64, 1 << 20, DType::bf16, 8}, kPackedChunkBytes + 1, 0, {8, 9}}};
  return header;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string refused(const std::string& head, std::int64_t file_bytes) {
  const auto read = read_packed_header(bytes_of(head), file_bytes);
  EXPECT_FALSE(read.has_value());
  return read ? "" : read.error().message;
}

// A header whose text is `text`, with the right length and checksum.
std::string sealed(const std::string& text) {
  std::string head = "LLPACKED";
  for (const std::uint64_t value : {std::uint64_t{text.size()}, packed_checksum(bytes_of(text))})
    for (int i = 0; i < 8; ++i) head += static_cast<char>(value >> (8 * i) & 0xff);
  return head + text;
}

TEST(PackedFile, IsReadAsItWasWritten) {
  PackedHeader header = sample();
  const PackedPlaces places = place_entries(header);
  const std::string head = packed_header_bytes(header, places.head_bytes);
  ASSERT_EQ(static_cast<std::int64_t>(head.size()), places.head_bytes);
  EXPECT_EQ(*packed_header_length(bytes_of(head)), places.head_bytes - kPackedPreamble);
  const auto read = read_packed_header(bytes_of(head), places.file_bytes);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->key, header.key);
  EXPECT_EQ(read->digests, header.digests);
  EXPECT_EQ(read->stamps, header.stamps);
  ASSERT_EQ(read->entries.size(), header.entries.size());
  for (std::size_t i = 0; i < header.entries.size(); ++i) {
    EXPECT_EQ(read->entries[i].name, header.entries[i].name);
    EXPECT_EQ(read->entries[i].shape, header.entries[i].shape);
    EXPECT_EQ(read->entries[i].sums, header.entries[i].sums);
    EXPECT_EQ(read->entries[i].offset, header.entries[i].offset);
    EXPECT_EQ(read->entries[i].offset % kPackedAlignment, 0);
  }
}

TEST(PackedFile, StampsPutLaterMoveNoMatrix) {
  PackedHeader header = sample();
  const PackedPlaces places = place_entries(header);
  header.stamps.assign(50, {"model-00001-of-00050.safetensors", 1, 2, 3, 4});
  const std::string head = packed_header_bytes(header, places.head_bytes);
  ASSERT_EQ(static_cast<std::int64_t>(head.size()), places.head_bytes);
  EXPECT_EQ(read_packed_header(bytes_of(head), places.file_bytes)->entries[2].offset,
            header.entries[2].offset);
}

TEST(PackedFile, EveryDamagedByteOfAHeaderIsNoticed) {
  PackedHeader header = sample();
  const PackedPlaces places = place_entries(header);
  const std::string head = packed_header_bytes(header, places.head_bytes);
  for (std::size_t i = 0; i < head.size(); i += i < 1200 ? 1 : 97) {
    std::string damaged = head;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_FALSE(read_packed_header(bytes_of(damaged), places.file_bytes).has_value()) << i;
  }
  for (const std::size_t cut : {std::size_t{0}, std::size_t{7}, std::size_t{23}, head.size() - 1})
    EXPECT_FALSE(read_packed_header(bytes_of(head).first(cut), places.file_bytes).has_value()) << cut;
}

TEST(PackedFile, ALengthThatIsNotTheFilesIsRefused) {
  PackedHeader header = sample();
  const PackedPlaces places = place_entries(header);
  const std::string head = packed_header_bytes(header, places.head_bytes);
  EXPECT_NE(refused(head, places.file_bytes - 1).find("the file at"), std::string::npos);
  EXPECT_NE(refused(head, places.file_bytes + 64).find("the file at"), std::string::npos);
}

TEST(PackedFile, FieldsOutsideTheirLimitsAreNamed) {
  const std::string good = packed_header_bytes(sample()).substr(kPackedPreamble);
  const std::pair<std::string, std::string> changes[] = {
      {"\"version\":1", "\"version\":2"},
      {"\"rank\":1", "\"rank\":2"},
      {"\"ranks\":2", "\"ranks\":0"},
      {"\"slices\":8", "\"slices\":0"},
      {"\"bytes\":5000", "\"bytes\":-1"},
      {"\"bytes\":5000", "\"bytes\":9007199254740993"},
      {"\"format\":\"int8\"", "\"format\":\"int9\""},
      {"\"sums\":\"\"", "\"sums\":\"0\""},
      {"\"files\":[", "\"files\":[7,"},
      {"\"matrices\":", "\"matrixes\":"},
  };
  for (const auto& [from, to] : changes) {
    std::string text = good;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const std::string why = refused(sealed(text), 1 << 22);
    const std::string field = from.substr(1, from.find('"', 1) - 1);
    EXPECT_TRUE(why.find(field) != std::string::npos || why.find("matri") != std::string::npos) << why;
  }
  EXPECT_FALSE(refused(sealed("[]"), 64).empty());
  EXPECT_FALSE(refused(sealed("{\"version\":1}"), 64).empty());
}

TEST(PackedFile, SaysWhichFieldOfAKeyDiffers) {
  const PackedKey key = sample().key;
  EXPECT_EQ(difference(key, key), "");
  PackedKey other = key;
  other.packing = "ccdd";
  EXPECT_EQ(difference(key, other), "packing is aabb, wanted ccdd");
  other = key;
  other.rank = 0;
  EXPECT_NE(difference(key, other).find("rank is 1 of 2"), std::string::npos);
}

}  // namespace
}  // namespace leadline::worker
