#include "worker/serving/token_outbox.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

using transport::Finish;
using transport::Message;
using transport::RequestId;
using transport::SampledToken;
using transport::TokenBatch;

SampledToken token(std::int32_t id) {
  return SampledToken{id, 0, {}};
}
Finish finish(std::uint64_t request) {
  Finish f;
  f.request = RequestId{request};
  f.reason = transport::FinishReason::stop;
  return f;
}

TEST(TokenOutbox, CoalescesTokensOfOneRequestAndKeepsFinishLast) {
  TokenOutbox outbox;
  const LinkId link{1};
  outbox.push_token(link, RequestId{5}, 0, token(10));
  outbox.push_token(link, RequestId{6}, 3, token(20));
  outbox.push_token(link, RequestId{5}, 1, token(11));
  outbox.push_finish(link, finish(5));
  outbox.push_token(link, RequestId{6}, 4, token(21));
  const auto messages = outbox.take(link, 100);
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(std::get<TokenBatch>(messages[0]), (TokenBatch{RequestId{5}, 0, {token(10), token(11)}}));
  EXPECT_EQ(std::get<TokenBatch>(messages[1]), (TokenBatch{RequestId{6}, 3, {token(20), token(21)}}));
  EXPECT_EQ(std::get<Finish>(messages[2]).request.value, 5U);
  EXPECT_EQ(outbox.pending_messages(), 0U);
}

TEST(TokenOutbox, APartlyTakenLinkGoesOnWithFreshBatches) {
  TokenOutbox outbox;
  const LinkId link{1};
  outbox.push_token(link, RequestId{1}, 0, token(1));
  outbox.push_token(link, RequestId{2}, 0, token(2));
  ASSERT_EQ(outbox.take(link, 1).size(), 1U);
  outbox.push_token(link, RequestId{2}, 1, token(3));
  const auto rest = outbox.take(link, 10);
  std::vector<std::int32_t> of_two;
  for (const Message& message : rest)
    for (const SampledToken& t : std::get<TokenBatch>(message).tokens) of_two.push_back(t.token);
  EXPECT_EQ(of_two, (std::vector<std::int32_t>{2, 3}));
}

TEST(TokenOutbox, NotifiesOnlyWhenALinkWakesUp) {
  TokenOutbox outbox;
  std::vector<std::uint64_t> notified;
  outbox.set_notifier([&](LinkId link) { notified.push_back(link.value); });
  outbox.push_token(LinkId{1}, RequestId{1}, 0, token(1));
  outbox.push_token(LinkId{1}, RequestId{1}, 1, token(2));
  outbox.push_finish(LinkId{2}, finish(9));
  EXPECT_EQ(notified, (std::vector<std::uint64_t>{1, 2}));
  (void)outbox.take(LinkId{1}, 10);
  outbox.push_finish(LinkId{1}, finish(1));
  EXPECT_EQ(notified, (std::vector<std::uint64_t>{1, 2, 1}));
}

TEST(TokenOutbox, ForgettingALinkDropsOnlyItsOwn) {
  TokenOutbox outbox;
  outbox.push_finish(LinkId{1}, finish(1));
  outbox.push_finish(LinkId{2}, finish(2));
  outbox.forget(LinkId{1});
  EXPECT_TRUE(outbox.take(LinkId{1}, 10).empty());
  EXPECT_EQ(outbox.take(LinkId{2}, 10).size(), 1U);
}

}  // namespace
}  // namespace leadline::worker
