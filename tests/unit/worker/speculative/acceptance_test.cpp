#include "worker/speculative/acceptance.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace leadline::worker {
namespace {

// What plain decoding would do: the model's own tokens, one after the other, until one ends the sequence.
struct Plain {
  std::vector<std::int32_t> tokens;
  std::size_t end;  // index of the last token
};

std::size_t settle(const std::vector<std::int32_t>& inputs, const Plain& plain,
                   std::vector<std::int32_t>* won = nullptr) {
  std::size_t expected = 0;
  return settle_round(inputs, [&](std::size_t row) {
    EXPECT_EQ(row, expected++) << "rows are asked in order, each once";
    if (won != nullptr) won->push_back(plain.tokens[row]);
    return OwnToken{plain.tokens[row], row == plain.end};
  });
}

TEST(Acceptance, TheFirstDraftThatFallsEndsTheRound) {
  const Plain plain{{10, 11, 12, 13, 14}, 99};
  EXPECT_EQ(settle({1}, plain), 1U);
  EXPECT_EQ(settle({1, 10}, plain), 2U);
  EXPECT_EQ(settle({1, 9}, plain), 1U);
  EXPECT_EQ(settle({1, 10, 11, 12, 13}, plain), 5U);
  EXPECT_EQ(settle({1, 10, 9, 12, 13}, plain), 2U);  // 12 and 13 would be right, but not after 9
}

TEST(Acceptance, NothingStandsBehindTheEnd) {
  EXPECT_EQ(settle({1, 10, 11, 12}, {{10, 11, 12, 13}, 1}), 2U);
  EXPECT_EQ(settle({1, 10, 11, 12}, {{10, 11, 12, 13}, 0}), 1U);
}

TEST(Acceptance, AnyDraftsGiveAPrefixOfThePlainAnswer) {
  std::mt19937 rng(1);
  std::uint64_t accepted = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    const std::size_t k = 1 + rng() % 9;
    Plain plain{{}, rng() % 3 == 0 ? rng() % k : 99};
    for (std::size_t i = 0; i < k; ++i) plain.tokens.push_back(static_cast<std::int32_t>(rng() % 3));
    std::vector<std::int32_t> inputs{7};
    for (std::size_t i = 1; i < k; ++i)
      inputs.push_back(rng() % 4 == 0 ? static_cast<std::int32_t>(rng() % 3) : plain.tokens[i - 1]);
    std::vector<std::int32_t> won;
    const std::size_t stand = settle(inputs, plain, &won);
    ASSERT_GE(stand, 1U);
    ASSERT_LE(stand, k);
    ASSERT_EQ(won.size(), stand);
    for (std::size_t i = 0; i < stand; ++i) {
      ASSERT_EQ(won[i], plain.tokens[i]);
      ASSERT_TRUE(i == 0 || inputs[i] == plain.tokens[i - 1]) << "KV of a wrong draft would stay";
      ASSERT_TRUE(i + 1 == stand || i < plain.end);
    }
    const bool ended = stand - 1 == plain.end, fell = stand < k && inputs[stand] != plain.tokens[stand - 1];
    ASSERT_TRUE(stand == k || ended || fell) << "a row that stands was given away";
    accepted += stand - 1;
  }
  EXPECT_GT(accepted, 10'000U);
}

}  // namespace
}  // namespace leadline::worker
