#include "worker/model/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace leadline::worker {
namespace {

using ::testing::HasSubstr;
using tests::safetensors_bytes;

Result<std::vector<TensorEntry>> read(const std::string& file) {
  return read_safetensors_header(std::as_bytes(std::span(file)), "f");
}

TEST(SafetensorsHeader, ReadsEntriesInOrderOfOffsets) {
  const auto entries = read(safetensors_bytes(
      R"({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [6, 14]},
          "b": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [0, 6]}})",
      std::string(14, 'x')));
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ((*entries)[0].name, "b");
  EXPECT_EQ((*entries)[0].dtype, DType::bf16);
  EXPECT_EQ((*entries)[1].end - (*entries)[1].begin, 8);
}

TEST(SafetensorsHeader, KeepsTypesThatAreNoWeightsWithoutDtype) {
  const auto entries =
      read(safetensors_bytes(R"({"n": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}})", "12345678"));
  ASSERT_TRUE(entries);
  EXPECT_FALSE((*entries)[0].dtype.has_value());
}

TEST(SafetensorsHeader, RefusesWhatDoesNotAddUp) {
  const struct {
    const char* header;
    std::size_t data;
    const char* message;
  } cases[] = {
      {R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 12]}})", 12, "need 8"},
      {R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", 4, "outside"},
      {R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})", 8, "outside"},
      {R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
       12, "overlaps"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})", 8, "gap"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", 8, "4 bytes after"},
      {R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0,
       "too large"},
      {R"({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}})", 4, "shape"},
      {R"({"a": {"dtype": "F32", "shape": [1,1,1,1,1,1,1,1,1], "data_offsets": [0, 4]}})", 4, "shape"},
      {R"({"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 4]}})", 4, "dtype = \"Q4\""},
      {R"({"a": {"shape": [1], "data_offsets": [0, 4]}})", 4, "dtype: missing"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}})", 4, "data_offsets"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 18446744073709551615]}})", 4,
       "data_offsets"},
      {R"({"a": 5})", 0, "a: not an object"},
      {R"([])", 0, "not a JSON object"},
  };
  for (const auto& one : cases) {
    const auto entries = read(safetensors_bytes(one.header, std::string(one.data, 'x')));
    ASSERT_FALSE(entries) << one.header;
    EXPECT_THAT(entries.error().message, HasSubstr(one.message)) << one.header;
    EXPECT_EQ(entries.error().code, Errc::malformed_file);
  }
}

TEST(SafetensorsHeader, RefusesLengthsBeyondTheFile) {
  EXPECT_FALSE(read(""));
  EXPECT_FALSE(read("1234567"));
  EXPECT_FALSE(read(std::string(8, '\xff') + "{}"));
  EXPECT_FALSE(read(std::string("\x03\0\0\0\0\0\0\0{}", 10)));
  EXPECT_TRUE(read(safetensors_bytes("{}", "")));
}

}  // namespace
}  // namespace leadline::worker
