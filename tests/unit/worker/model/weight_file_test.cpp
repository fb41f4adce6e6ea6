#include "worker/model/weight_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/tiny_model.h"

namespace leadline::worker {
namespace {

using ::testing::HasSubstr;
using tests::safetensors_bytes;
using tests::TempDirectory;

const std::string kOneFloat =
    safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}} )", "abcd");
const std::string kTwoHalves =
    safetensors_bytes(R"({"b": {"dtype": "F16", "shape": [2, 1], "data_offsets": [0, 4]}})", "efgh");

std::string message_of(const TempDirectory& directory) {
  const auto file = WeightFile::open(directory.path());
  return file ? "opened" : file.error().message;
}

TEST(WeightFile, OpensASingleFile) {
  TempDirectory directory;
  directory.write("model.safetensors", kOneFloat);
  const auto file = WeightFile::open(directory.path());
  ASSERT_TRUE(file) << file.error().message;
  const Tensor* tensor = (*file)->find("a");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()), "abcd");
  EXPECT_EQ((*file)->find("b"), nullptr);
  EXPECT_EQ((*file)->total_bytes(), 4);
}

TEST(WeightFile, OpensShardsByTheirIndex) {
  TempDirectory directory;
  directory.write("x-1.safetensors", kOneFloat);
  directory.write("x-2.safetensors", kTwoHalves);
  directory.write("model.safetensors.index.json",
                  R"({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}})");
  const auto file = WeightFile::open(directory.path());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->tensors().size(), 2U);
}

TEST(WeightFile, RefusesBadIndexes) {
  const struct {
    const char* index;
    const char* message;
  } cases[] = {
      {R"({"weight_map": {"a": "../x-1.safetensors"}})", "plain file name"},
      {R"({"weight_map": {"a": "/etc/passwd"}})", "plain file name"},
      {R"({"weight_map": {"a": 1}})", "plain file name"},
      {R"({"weight_map": {}})", "names 0 files"},
      {R"({"weights": {}})", "weight_map"},
      {R"({"weight_map": {"a": "x-1.safetensors", "c": "x-1.safetensors"}})", "lacks 1"},
      {R"({"weight_map": {"a": "x-3.safetensors"}})", "x-3.safetensors"},
      {"{", "not valid JSON"},
  };
  for (const auto& one : cases) {
    TempDirectory directory;
    directory.write("x-1.safetensors", kOneFloat);
    directory.write("model.safetensors.index.json", one.index);
    EXPECT_THAT(message_of(directory), HasSubstr(one.message)) << one.index;
  }
}

TEST(WeightFile, RefusesEmptyAndMissingFiles) {
  TempDirectory directory;
  EXPECT_THAT(message_of(directory), HasSubstr("neither model.safetensors"));
  directory.write("model.safetensors", "");
  EXPECT_THAT(message_of(directory), HasSubstr("empty"));
}

TEST(WeightFile, RequireNamesTensorShapeAndType) {
  TempDirectory directory;
  directory.write("model.safetensors",
                  safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                                        "i": {"dtype": "I8", "shape": [1], "data_offsets": [4, 5]},
                                        "u": {"dtype": "F16", "shape": [1], "data_offsets": [5, 7]}})",
                                    "abcdefg"));
  const auto file = WeightFile::open(directory.path());
  ASSERT_TRUE(file) << file.error().message;
  const std::array<std::int64_t, 1> one{1};
  const std::array<std::int64_t, 2> other{1, 2};
  EXPECT_TRUE((*file)->require("a", one));
  EXPECT_THAT((*file)->require("z", one).error().message, HasSubstr("lacks tensor z"));
  EXPECT_THAT((*file)->require("a", other).error().message,
              HasSubstr("shape = [1], config.json needs [1, 2]"));
  EXPECT_THAT((*file)->require("i", one).error().message, HasSubstr("dtype = I8"));
  EXPECT_EQ((*file)->require("i", one).error().code, Errc::unsupported_model);
  const auto unaligned = (*file)->require("u", one);  // behind an odd number of bytes
  ASSERT_TRUE(unaligned);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*unaligned)->bytes.data()) % 2, 0U);
  EXPECT_EQ(std::to_integer<char>((*unaligned)->bytes[0]), 'f');
}

}  // namespace
}  // namespace leadline::worker
