#include "coordinator/routing/session_table.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

SessionTurn turn(std::uint32_t worker, std::size_t text_bytes = 10) {
  return {transport::SessionId(1), transport::WorkerId(worker), std::string(text_bytes, 'x'), {1, 2, 3}};
}

TEST(SessionTableTest, FindsByTenantAndKeyOnly) {
  Limits limits;
  SessionTable table(limits);
  table.put("alice", "k", turn(3), 0);
  ASSERT_NE(table.find("alice", "k", 1), nullptr);
  EXPECT_EQ(table.find("alice", "k", 1)->worker.value, 3u);
  EXPECT_EQ(table.find("bob", "k", 1), nullptr);
  EXPECT_EQ(table.find("alice|k", "", 1), nullptr);
  EXPECT_EQ(table.find("alic", "e|k", 1), nullptr);
}

TEST(SessionTableTest, Replaces) {
  Limits limits;
  SessionTable table(limits);
  table.put("", "k", turn(1), 0);
  table.put("", "k", turn(2), 0);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.find("", "k", 0)->worker.value, 2u);
}

TEST(SessionTableTest, LeastRecentlyUsedGoesFirst) {
  Limits limits;
  limits.sessions = 2;
  SessionTable table(limits);
  table.put("", "a", turn(1), 0);
  table.put("", "b", turn(2), 1);
  table.find("", "a", 2);
  table.put("", "c", turn(3), 3);
  EXPECT_NE(table.find("", "a", 4), nullptr);
  EXPECT_EQ(table.find("", "b", 4), nullptr);
}

TEST(SessionTableTest, BytesAreBounded) {
  Limits limits;
  limits.session_bytes = 10'000;
  SessionTable table(limits);
  for (int i = 0; i < 100; ++i) table.put("", std::to_string(i), turn(1, 1000), 0);
  EXPECT_LE(table.bytes(), limits.session_bytes);
  EXPECT_GT(table.size(), 5u);
  table.put("", "giant", turn(1, 20'000), 0);
  EXPECT_EQ(table.find("", "giant", 0), nullptr);
}

TEST(SessionTableTest, Expires) {
  Limits limits;
  SessionTable table(limits);
  table.put("", "a", turn(1), 0);
  table.put("", "b", turn(1), 0);
  EXPECT_EQ(table.find("", "a", limits.session_ttl_ms + 1), nullptr);
  table.put("", "c", turn(1), limits.session_ttl_ms + 1);
  EXPECT_EQ(table.size(), 1u);
}

}  // namespace
}  // namespace leadline::coordinator
