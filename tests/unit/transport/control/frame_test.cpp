#include "transport/control/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leadline::transport {
namespace {

using Bytes = std::vector<std::byte>;
using testing::HasSubstr;

Bytes body_of(std::size_t size, int seed) {
  Bytes body(size);
  for (std::size_t i = 0; i < size; ++i)
    body[i] = static_cast<std::byte>(i * 31 + static_cast<std::size_t>(seed));
  return body;
}

TEST(Frame, AnyCutOfTheStreamGivesTheSameFrames) {
  Bytes stream;
  const std::size_t sizes[] = {0, 1, 11, 12, 13, 300, 70'000};
  for (int i = 0; i < 7; ++i) append_frame(static_cast<std::uint8_t>(i + 1), body_of(sizes[i], i), stream);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{5}, std::size_t{12}, std::size_t{4096}, stream.size()}) {
    FrameParser parser(1 << 20);
    int seen = 0;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      auto input = std::span<const std::byte>(stream).subspan(at, std::min(piece, stream.size() - at));
      while (!input.empty()) {
        auto frame = parser.take(input);
        ASSERT_TRUE(frame) << frame.error().message;
        if (!*frame) continue;
        EXPECT_EQ((*frame)->type, seen + 1);
        EXPECT_EQ((*frame)->body, body_of(sizes[seen], seen));
        ++seen;
      }
    }
    EXPECT_EQ(seen, 7) << "pieces of " << piece;
    EXPECT_FALSE(parser.inside_frame());
  }
}

TEST(Frame, AnEmptyBodyNeedsNoMoreBytesThanItsHead) {
  Bytes stream;
  append_frame(9, {}, stream);
  ASSERT_EQ(stream.size(), kFrameHeadBytes);
  FrameParser parser(0);
  std::span<const std::byte> input = stream;
  auto frame = parser.take(input);
  ASSERT_TRUE(frame);
  ASSERT_TRUE(*frame);
  EXPECT_EQ((*frame)->type, 9);
}

// Every single flipped bit is noticed: in the head by its rules or the checksum, in the body by the checksum.
TEST(Frame, EveryFlippedBitIsNoticed) {
  Bytes stream;
  append_frame(3, body_of(20, 1), stream);
  for (std::size_t bit = 0; bit < stream.size() * 8; ++bit) {
    Bytes broken = stream;
    broken[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    FrameParser parser(1 << 20);
    std::span<const std::byte> input = broken;
    auto frame = parser.take(input);
    // A longer length asks for more bytes; anything else is an error.
    EXPECT_TRUE(!frame || !*frame) << "bit " << bit;
    if (frame) {
      EXPECT_TRUE(parser.inside_frame()) << "bit " << bit;
    }
  }
}

TEST(Frame, LimitsAndErrorsStay) {
  Bytes stream;
  append_frame(1, body_of(101, 0), stream);
  FrameParser parser(100);
  std::span<const std::byte> input = stream;
  auto refused = parser.take(input);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  EXPECT_THAT(refused.error().message, HasSubstr("101"));
  Bytes good;
  append_frame(1, {}, good);
  input = good;
  EXPECT_EQ(parser.take(input).error().code, Errc::too_large) << "a stream that lost its step stays lost";
}

TEST(Frame, AClaimedLengthTakesNoMemory) {
  Bytes head;
  append_frame(1, {}, head);
  head[4] = head[5] = head[6] = std::byte{0xFF};  // 16 MiB less one
  FrameParser parser(1 << 24);
  std::span<const std::byte> input = head;
  auto frame = parser.take(input);
  ASSERT_TRUE(frame);
  EXPECT_FALSE(*frame);
}

}  // namespace
}  // namespace leadline::transport
