#include "worker/speculative/draft_message.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

const std::vector<DraftChoice> kChoices = {{DraftStep::go_on, 4095, 0},
                                           {DraftStep::stop, 0, 0},
                                           {DraftStep::climb, 0, 11},
                                           {DraftStep::keep_and_stop, 0, 0}};

TEST(DraftMessage, RoundTrips) {
  const std::vector<std::byte> bytes = draft_choices_to_bytes(kChoices);
  EXPECT_EQ(bytes.size(), kChoices.size() * kDraftChoiceBytes);
  const auto back = draft_choices_from_bytes(bytes, kChoices.size(), 4096, 12);
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(*back, kChoices);
}

TEST(DraftMessage, RefusalsNameTheField) {
  const std::vector<std::byte> bytes = draft_choices_to_bytes(kChoices);
  const auto refusal = [&](std::size_t rows, std::int32_t vocab, std::int32_t layers,
                           std::span<const std::byte> from) {
    const auto got = draft_choices_from_bytes(from, rows, vocab, layers);
    return got.has_value() ? std::string("accepted") : got.error().message;
  };
  EXPECT_EQ(refusal(3, 4096, 12, bytes), "draft message: length is 32");
  EXPECT_EQ(refusal(4, 4096, 12, std::span(bytes).first(31)), "draft message: length is 31");
  EXPECT_EQ(refusal(4, 4095, 12, bytes), "draft message: token is 4095");
  EXPECT_EQ(refusal(4, 4096, 11, bytes), "draft message: exit is 11");
  std::vector<std::byte> wrong = bytes;
  wrong[8] = std::byte{9};
  EXPECT_EQ(refusal(4, 4096, 12, wrong), "draft message: step is 9");
}

}  // namespace
}  // namespace leadline::worker
