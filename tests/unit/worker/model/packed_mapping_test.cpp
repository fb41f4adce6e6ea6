#include "worker/model/packed_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch_directory.h"

// What must hold: whoever reads a mapping sees the file's bytes at every moment of the move, and after it the
// file matters no more.

namespace leadline::worker {
namespace {

constexpr std::size_t kPiece = std::size_t{2} << 20;
constexpr auto kNoRest = [](std::chrono::nanoseconds) { return std::chrono::milliseconds(0); };

class PackedMappingTest : public ::testing::Test {
 protected:
  // Pieces of 2 MiB that differ, and a last one of part of a page.
  PackedMappingTest() : content_(8 * kPiece + 5000, '\0') {
    std::uint32_t state = 1;
    for (char& byte : content_) byte = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    std::ofstream(path_, std::ios::binary) << content_;
  }
  [[nodiscard]] std::shared_ptr<PackedMapping> map() const {
    const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    auto mapped = PackedMapping::map(file, static_cast<std::int64_t>(content_.size()));
    ::close(file);
    EXPECT_TRUE(mapped.has_value()) << mapped.error().message;
    return mapped ? *mapped : nullptr;
  }
  [[nodiscard]] bool same(const PackedMapping& mapping) const {
    return std::ranges::equal(mapping.bytes(), std::as_bytes(std::span(content_)));
  }

  tests::ScratchDirectory directory_;
  const std::string path_ = directory_.path() + "/weights";
  std::string content_;
};

TEST_F(PackedMappingTest, ReadersSeeTheSameBytesWhileTheyMove) {
  for (int round = 0; round < 3; ++round) {
    const auto mapping = map();
    ASSERT_TRUE(PackedMapping::bring_in(mapping->bytes().subspan(100, kPiece)));
    std::atomic<bool> moving{true};
    std::atomic<int> wrong{0}, passes{0};
    std::vector<std::jthread> readers;
    for (int r = 0; r < 3; ++r)
      readers.emplace_back([&] {
        for (bool last = false; !last; ++passes) {
          last = !moving;  // one pass after the move, too
          if (!same(*mapping)) ++wrong;
        }
      });
    while (passes == 0) std::this_thread::yield();
    EXPECT_EQ(mapping->left(), static_cast<std::int64_t>(content_.size()));
    ASSERT_TRUE(mapping->move({}, kNoRest).has_value());
    moving = false;
    readers.clear();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(mapping->left(), 0);
  }
}

TEST_F(PackedMappingTest, AfterTheMoveTheFileMattersNoMore) {
  const auto mapping = map();
  ASSERT_TRUE(mapping->move({}, kNoRest).has_value());
  std::ofstream(path_, std::ios::binary | std::ios::in) << std::string(content_.size(), 'x');
  EXPECT_TRUE(same(*mapping));
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  EXPECT_TRUE(same(*mapping));
}

TEST_F(PackedMappingTest, PiecesThatMovedAreOneMappingAgain) {
  const auto mapping = map();
  ASSERT_TRUE(mapping->move({}, kNoRest).has_value());
  const auto first = reinterpret_cast<std::uintptr_t>(mapping->bytes().data());
  std::ifstream maps("/proc/self/maps");
  int inside = 0;
  for (std::string line; std::getline(maps, line);) {
    const std::uintptr_t begin = std::stoull(line, nullptr, 16);
    inside += begin >= first && begin < first + content_.size();
  }
  EXPECT_LE(inside, 2) << "a large model would meet vm.max_map_count";
}

TEST_F(PackedMappingTest, AStoppedMoveLeavesTheRestWhereItIs) {
  const auto mapping = map();
  std::stop_source stop;
  stop.request_stop();
  ASSERT_TRUE(mapping->move(stop.get_token(), [](auto) { return std::chrono::hours(1); }).has_value());
  EXPECT_EQ(mapping->left(), static_cast<std::int64_t>(content_.size() - kPiece));
  EXPECT_TRUE(same(*mapping));
}

TEST_F(PackedMappingTest, AMoverThatEndsBeforeItsTimeMovesNothing) {
  const auto mapping = map();
  std::string said;
  {
    const PackedMover mover(mapping, std::chrono::hours(1), [&](std::string_view line) { said += line; });
  }
  EXPECT_EQ(said, "");
  EXPECT_EQ(mapping->left(), static_cast<std::int64_t>(content_.size()));
  EXPECT_TRUE(same(*mapping));
}

TEST(RestAfterPiece, NoneWhileNothingIsComputedElseAFifthOfACore) {
  using std::chrono::milliseconds;
  EXPECT_EQ(rest_after_piece(milliseconds(100), 0.1), milliseconds(0));
  EXPECT_EQ(rest_after_piece(std::chrono::microseconds(600), 1.9), milliseconds(5));
  EXPECT_EQ(rest_after_piece(milliseconds(12), 1.9), milliseconds(48));
}

TEST(PackedMappingOf, WhatCannotBeMappedSaysWhy) {
  const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const auto mapped = PackedMapping::map(file, 4096);
  ::close(file);
  ASSERT_FALSE(mapped.has_value());
  EXPECT_EQ(mapped.error().code, Errc::io);
  EXPECT_NE(mapped.error().message.find("mmap"), std::string::npos);
}

}  // namespace
}  // namespace leadline::worker
