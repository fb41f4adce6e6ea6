// Known answers of Philox 4x32-10, from the authors' Random123 distribution (kat_vectors).
#include "worker/sampling/philox.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

TEST(Philox, KnownAnswers) {
  struct Case {
    std::uint32_t first;
    std::array<std::uint32_t, 3> rest;
    std::uint64_t key;
    std::array<std::uint32_t, 4> want;
  };
  const Case cases[] = {
      {0, {0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0U, {~0U, ~0U, ~0U}, ~0ULL, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x243f6a88,
       {0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822ULL,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Case& c : cases) {
    std::uint32_t out[4][1];
    philox4x32_10(c.first, c.rest, c.key, out);
    for (std::size_t w = 0; w < 4; ++w) EXPECT_EQ(out[w][0], c.want[w]);
  }
}

TEST(Philox, LanesAreTheSingleCalls) {
  std::uint32_t many[4][16];
  philox4x32_10(1000, {7, 9, 0}, 0x123456789abcdefULL, many);
  for (std::uint32_t i = 0; i < 16; ++i) {
    std::uint32_t one[4][1];
    philox4x32_10(1000 + i, {7, 9, 0}, 0x123456789abcdefULL, one);
    for (std::size_t w = 0; w < 4; ++w) EXPECT_EQ(many[w][i], one[w][0]);
  }
}

}  // namespace
}  // namespace leadline::worker
