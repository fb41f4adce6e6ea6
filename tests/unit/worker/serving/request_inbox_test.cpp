#include "worker/serving/request_inbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace leadline::worker {
namespace {

using std::chrono::milliseconds;

InboxGenerate request(std::uint64_t id) {
  InboxGenerate item;
  item.link = LinkId{1};
  item.request.request = transport::RequestId{id};
  return item;
}

TEST(RequestInbox, KeepsOrderOfRequestsAndCancels) {
  RequestInbox inbox(8);
  EXPECT_FALSE(inbox.try_push(request(1)));
  inbox.push_cancel(LinkId{1}, transport::RequestId{1});
  EXPECT_FALSE(inbox.try_push(request(2)));
  const auto items = inbox.take(milliseconds(0));
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(std::get<InboxGenerate>(items[0]).request.request.value, 1U);
  EXPECT_EQ(std::get<InboxCancel>(items[1]).request.value, 1U);
  EXPECT_EQ(std::get<InboxGenerate>(items[2]).request.request.value, 2U);
  EXPECT_TRUE(inbox.take(milliseconds(0)).empty());
}

TEST(RequestInbox, AFullInboxHandsTheRequestBack) {
  RequestInbox inbox(2);
  EXPECT_FALSE(inbox.try_push(request(1)));
  EXPECT_FALSE(inbox.try_push(request(2)));
  const auto back = inbox.try_push(request(3));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->request.request.value, 3U);
  inbox.push_cancel(LinkId{1}, transport::RequestId{1});  // never refused
  EXPECT_EQ(inbox.take(milliseconds(0)).size(), 3U);
  EXPECT_FALSE(inbox.try_push(request(3)));
}

TEST(RequestInbox, DrainingAndClosedRefuseRequestsButTakeCancels) {
  RequestInbox inbox(2);
  inbox.push_drain();
  EXPECT_TRUE(inbox.try_push(request(1)));
  inbox.push_link_lost(LinkId{1});
  EXPECT_EQ(inbox.take(milliseconds(0)).size(), 2U);
  inbox.close();
  EXPECT_TRUE(inbox.try_push(request(1)));
  EXPECT_TRUE(inbox.closed());
}

TEST(RequestInbox, TakeSleepsUntilSomethingArrives) {
  RequestInbox inbox(2);
  std::thread pusher([&] { EXPECT_FALSE(inbox.try_push(request(7))); });
  const auto items = inbox.take(milliseconds(60'000));  // ends at once when the push comes
  pusher.join();
  ASSERT_EQ(items.size(), 1U);
}

TEST(RequestInbox, CloseWakesTheTaker) {
  RequestInbox inbox(2);
  std::thread closer([&] { inbox.close(); });
  EXPECT_TRUE(inbox.take(milliseconds(60'000)).empty());
  closer.join();
}

}  // namespace
}  // namespace leadline::worker
