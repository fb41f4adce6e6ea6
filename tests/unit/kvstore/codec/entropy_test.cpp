// Streams come back symbol for symbol, are as small as their entropy says, and damage is refused.
#include "kvstore/codec/entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kvstore/codec/rans.h"

namespace leadline::kvstore {
namespace {

using Symbols = std::vector<std::uint8_t>;

Symbols random_symbols(std::size_t n, double spread, std::uint32_t seed, unsigned mask) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal(0, spread);
  Symbols out(n);
  for (auto& s : out) s = static_cast<std::uint8_t>(std::lround(normal(rng))) & mask;
  return out;
}

void round_trip(const StreamShape& shape, const Symbols& symbols, const char* what) {
  for (bool fast : {false, true}) {
    std::vector<std::byte> bytes;
    put_stream(shape, symbols, fast, bytes);
    Symbols again(symbols.size(), 99);
    SectionReader in(bytes);
    const auto read = in.stream(shape, again);
    ASSERT_TRUE(read.has_value()) << what << ": " << read.error().message;
    ASSERT_EQ(again, symbols) << what;
    ASSERT_EQ(in.left(), 0U);
    ASSERT_LE(bytes.size(), 5 + (symbols.size() * shape.bits + 7) / 8) << what;
  }
}

TEST(Entropy, RoundTripsEveryKindOfStream) {
  for (Context context : {Context::none, Context::level, Context::magnitude, Context::nibble})
    for (auto [layers, slots, channels] : {std::array<std::size_t, 3>{1, 1, 1},
                                           {1, 1, 7},
                                           {3, 16, 64},
                                           {2, 5, 33},
                                           {1, 256, 3},
                                           {0, 16, 4},
                                           {12, 16, 1}})
      for (std::uint32_t bits : {4U, 8U})
        for (double spread : {0.0, 0.6, 5.0, 90.0}) {
          const StreamShape shape{layers, slots, channels, bits, context};
          round_trip(shape, random_symbols(shape.symbols(), spread, 5, bits == 4 ? 15 : 255), "random");
        }
}

TEST(Entropy, ComesNearTheEntropy) {
  const StreamShape shape{16, 16, 64, 8, Context::none};
  const Symbols symbols = random_symbols(shape.symbols(), 3.0, 1, 255);
  std::array<double, 256> counts{};
  for (std::uint8_t s : symbols) ++counts[s];
  double bits = 0;
  for (double c : counts)
    if (c > 0) bits += c * std::log2(static_cast<double>(symbols.size()) / c);
  std::vector<std::byte> bytes;
  put_stream(shape, symbols, false, bytes);
  EXPECT_LT(static_cast<double>(bytes.size()), bits / 8 * 1.01 + 64);
}

// Channels of very different spread: what one table for all cannot know. (A block of few layers cannot pay
// for the tables; the encoder sees that.)
TEST(Entropy, ContextsFollowTheChannels) {
  const StreamShape shape{32, 16, 64, 8, Context::magnitude};
  std::mt19937 rng(2);
  Symbols symbols;
  for (std::size_t i = 0; i < shape.symbols(); ++i) {
    const std::size_t channel = i % 64;
    std::normal_distribution<double> normal(0, channel % 2 == 0 ? 40 : 1.5);
    symbols.push_back(static_cast<std::uint8_t>(
        static_cast<std::int8_t>(std::clamp(std::lround(normal(rng)), -127L, 127L))));
  }
  std::vector<std::byte> with, without;
  put_stream(shape, symbols, false, with);
  StreamShape plain = shape;
  plain.context = Context::none;
  put_stream(plain, symbols, false, without);
  EXPECT_LT(static_cast<double>(with.size()), 0.93 * static_cast<double>(without.size()));
  round_trip(shape, symbols, "channels");
}

TEST(Entropy, RunsGoToZstd) {
  const StreamShape shape{1, 1, 4096, 8, Context::none};
  Symbols symbols;
  for (int i = 0; i < 4096; ++i) symbols.push_back(static_cast<std::uint8_t>(i % 251));
  std::vector<std::byte> bytes;
  put_stream(shape, symbols, false, bytes);
  EXPECT_EQ(static_cast<int>(bytes[0]), 3);
  EXPECT_LT(bytes.size(), 600U);
  round_trip(shape, symbols, "runs");
}

TEST(Entropy, RefusesEveryCutAndMostChanges) {
  const StreamShape shape{2, 16, 16, 8, Context::level};
  const Symbols symbols = random_symbols(shape.symbols(), 2.0, 3, 7);
  std::vector<std::byte> bytes;
  put_stream(shape, symbols, false, bytes);
  ASSERT_NE(static_cast<int>(bytes[0]), 0);
  Symbols out(symbols.size());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    SectionReader in(std::span<const std::byte>(bytes).first(n));
    EXPECT_FALSE(in.stream(shape, out).has_value()) << n;
  }
  for (std::uint8_t method : {4, 9, 255}) {
    auto wrong = bytes;
    wrong[0] = std::byte{method};
    SectionReader in(wrong);
    const auto read = in.stream(shape, out);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, Errc::malformed);
  }
  // The words end where they should and the states return: most flips are seen here already (a block's
  // checksum sees all).
  int unseen = 0;
  for (std::size_t i = 5; i < bytes.size(); ++i) {
    auto wrong = bytes;
    wrong[i] ^= std::byte{4};
    SectionReader in(wrong);
    unseen += in.stream(shape, out).has_value();
  }
  EXPECT_LT(unseen, static_cast<int>(bytes.size() / 20));
}

TEST(Rans, TablesThatDoNotAddUpAreRefused) {
  const auto open = [](std::initializer_list<int> raw) {
    std::vector<std::byte> bytes;
    for (int b : raw) bytes.push_back(static_cast<std::byte>(b));
    return RansDecoder::open(bytes).has_value();
  };
  // one context, symbols 0..0, frequency 4096 = 128 | 0, 32; states 65536 each
  EXPECT_TRUE(open({0, 0, 0, 128, 32, 255, 0, 0, 1, 0, 0, 0, 1, 0}));
  EXPECT_FALSE(open({0, 0, 0, 128, 31, 255, 0, 0, 1, 0, 0, 0, 1, 0}));                    // sum
  EXPECT_FALSE(open({0, 0, 0, 128, 33, 255, 0, 0, 1, 0, 0, 0, 1, 0}));                    // beyond
  EXPECT_FALSE(open({32, 0, 0, 128, 32, 255, 0, 0, 1, 0, 0, 0, 1, 0}));                   // context
  EXPECT_FALSE(open({0, 200, 80, 128, 32, 255, 0, 0, 1, 0, 0, 0, 1, 0}));                 // symbols
  EXPECT_FALSE(open({0, 0, 0, 128, 32, 0, 0, 0, 128, 32, 255, 0, 0, 1, 0, 0, 0, 1, 0}));  // twice
  EXPECT_FALSE(open({0, 0, 0, 128, 32, 255, 0, 0, 0, 0, 0, 0, 1, 0}));                    // state
  EXPECT_FALSE(open({0, 0, 0, 128, 32, 255, 0, 0, 1, 0, 0, 0, 1, 0, 7}));                 // half a word
  EXPECT_FALSE(open({}));
}

}  // namespace
}  // namespace leadline::kvstore
