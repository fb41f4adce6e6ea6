#include "coordinator/routing/prefix_history.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace leadline::coordinator {
namespace {

using transport::TokenId;
using transport::WorkerId;

std::vector<TokenId> prompt_of(std::size_t size, TokenId first = 0) {
  std::vector<TokenId> prompt(size);
  std::iota(prompt.begin(), prompt.end(), first);
  return prompt;
}

TEST(PrefixHistoryTest, OnlyWholeBlocksAndOnlyThatWorker) {
  PrefixHistory history(100);
  const auto hashes = prefix_hashes(prompt_of(3 * kPrefixBlockTokens + 10), {});
  EXPECT_EQ(hashes.size(), 3u);
  history.note(WorkerId(1), hashes);
  EXPECT_EQ(history.known_tokens(WorkerId(1), hashes), 3 * kPrefixBlockTokens);
  EXPECT_EQ(history.known_tokens(WorkerId(2), hashes), 0u);
}

TEST(PrefixHistoryTest, ADifferentBeginningSharesNothing) {
  PrefixHistory history(100);
  history.note(WorkerId(0), prefix_hashes(prompt_of(256), {}));
  auto other = prompt_of(256);
  other[0] = 99;
  EXPECT_EQ(history.known_tokens(WorkerId(0), prefix_hashes(other, {})), 0u);
  auto late = prompt_of(256);
  late[130] = 9999;
  EXPECT_EQ(history.known_tokens(WorkerId(0), prefix_hashes(late, {})), 128u);
}

TEST(PrefixHistoryTest, TenantsShareNothing) {
  const std::array<std::uint8_t, 2> a{1, 2}, b{2, 1};
  EXPECT_NE(prefix_hashes(prompt_of(64), a), prefix_hashes(prompt_of(64), b));
}

TEST(PrefixHistoryTest, BoundedAndForgetful) {
  PrefixHistory history(10);
  for (TokenId start = 0; start < 50; ++start)
    history.note(WorkerId(0), prefix_hashes(prompt_of(256, start * 1000), {}));
  EXPECT_EQ(history.size(), 10u);
  const auto newest = prefix_hashes(prompt_of(256, 49'000), {});
  EXPECT_EQ(history.known_tokens(WorkerId(0), newest), 256u);
  history.note(WorkerId(1), newest);
  history.forget(WorkerId(0));
  EXPECT_EQ(history.known_tokens(WorkerId(0), newest), 0u);
  EXPECT_EQ(history.known_tokens(WorkerId(1), newest), 256u);
}

}  // namespace
}  // namespace leadline::coordinator
