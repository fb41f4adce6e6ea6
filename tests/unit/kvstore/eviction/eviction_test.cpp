// Tables of what each eviction policy lets go of, and the laws that all of them keep.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kvstore/eviction/policy.h"
#include "kvstore/eviction/s3_fifo.h"

namespace leadline::kvstore {
namespace {

BlockKey key_of(int n) {
  BlockKey key;
  key.bytes[0] = static_cast<std::uint8_t>(n);
  key.bytes[1] = static_cast<std::uint8_t>(n >> 8);
  key.bytes[31] = 1;
  return key;
}
BlockFacts facts_of(int parent, std::uint64_t bytes = 10, double cost_s = 1) {
  return {bytes, cost_s, key_of(parent), 0};
}
constexpr int kRoot = 1000;

struct Put {
  int key, parent;
};
struct Case {
  const char* what;
  const char* policy;
  std::vector<Put> puts;
  std::vector<int> touches;  // after all puts
  std::vector<int> leaves;   // expected order of eviction
};

class EvictionOrder : public testing::TestWithParam<Case> {};
TEST_P(EvictionOrder, IsAsTheTableSays) {
  const Case& c = GetParam();
  auto policy = make_eviction(c.policy, 100);
  ASSERT_NE(policy, nullptr);
  double now = 0;
  for (const Put& put : c.puts) policy->insert(key_of(put.key), facts_of(put.parent), now += 1);
  for (int key : c.touches) policy->touch(key_of(key), now += 1);
  std::vector<int> order;
  while (auto key = policy->evict(now += 1)) order.push_back(key->bytes[0] + 256 * key->bytes[1]);
  EXPECT_EQ(order, c.leaves) << c.what;
  EXPECT_EQ(policy->bytes(), 0U);
  EXPECT_EQ(policy->entries(), 0U);
}

const std::vector<Put> kFlat = {{1, kRoot}, {2, kRoot}, {3, kRoot}, {4, kRoot}};
const std::vector<Put> kChain = {{1, kRoot}, {2, 1}, {3, 2}, {4, 3}};
const std::vector<Put> kFork = {{1, kRoot}, {2, 1}, {3, 1}, {4, 3}};
INSTANTIATE_TEST_SUITE_P(
    Tables, EvictionOrder,
    testing::Values(Case{"first in, first out", "lru", kFlat, {}, {1, 2, 3, 4}},
                    Case{"the last use counts", "lru", kFlat, {1, 3}, {2, 4, 1, 3}},
                    Case{"a chain goes from its end", "lru", kChain, {}, {4, 3, 2, 1}},
                    Case{"also when its head was used last", "lru", kChain, {4, 3, 2, 1}, {4, 3, 2, 1}},
                    Case{"the colder branch goes first", "lru", kFork, {2}, {4, 3, 2, 1}},
                    Case{"then the parent that both share", "lru", kFork, {1, 3, 4}, {2, 4, 3, 1}},
                    Case{"unused ones in order", "s3fifo", kFlat, {}, {1, 2, 3, 4}},
                    Case{"a used one is lifted", "s3fifo10", kFlat, {1}, {2, 3, 4, 1}},
                    Case{"a chain goes from its end", "s3fifo", kChain, {}, {4, 3, 2, 1}},
                    Case{"a used branch outlives an unused one", "s3fifo10", kFork, {1, 2}, {4, 3, 2, 1}},
                    Case{"a child before its parent", "s3fifo", {{2, 1}, {1, kRoot}}, {}, {2, 1}},
                    Case{"a child before its parent", "lru", {{2, 1}, {1, kRoot}}, {}, {2, 1}},
                    Case{"equal costs: least used first", "gdsf", kFlat, {1, 1, 2}, {3, 4, 2, 1}},
                    Case{"a chain goes from its end", "gdsf", kChain, {}, {4, 3, 2, 1}}));

TEST(Gdsf, WeighsCostAgainstBytes) {
  auto policy = make_eviction("gdsf", 1000);
  policy->insert(key_of(1), facts_of(kRoot, 10, 5.0), 0);   // dear
  policy->insert(key_of(2), facts_of(kRoot, 100, 5.0), 0);  // as dear, but ten times the room
  policy->insert(key_of(3), facts_of(kRoot, 10, 1.0), 0);   // cheap
  EXPECT_EQ(policy->evict(1), key_of(2));
  EXPECT_EQ(policy->evict(1), key_of(3));
  // What stays ages: a newcomer of the same worth stands above what was there when others left.
  policy->insert(key_of(4), facts_of(kRoot, 10, 4.95), 2);
  EXPECT_EQ(policy->evict(3), key_of(1));
}

TEST(S3Fifo, AGhostComesBackIntoTheMainQueue) {
  S3Fifo policy({.capacity_bytes = 100});
  policy.insert(key_of(1), facts_of(kRoot), 0);
  EXPECT_EQ(policy.evict(0), key_of(1));
  EXPECT_EQ(policy.ghosts(), 1U);
  policy.insert(key_of(1), facts_of(kRoot), 1);
  EXPECT_TRUE(policy.in_main(key_of(1)));
  EXPECT_EQ(policy.ghosts(), 0U);
  policy.insert(key_of(2), facts_of(kRoot), 1);
  EXPECT_FALSE(policy.in_main(key_of(2)));
}

TEST(S3Fifo, GhostsAreBoundedByBytes) {
  S3Fifo policy({.capacity_bytes = 10'000});
  for (int i = 0; i < 1000; ++i) {
    policy.insert(key_of(i), facts_of(kRoot, 100), i);
    EXPECT_EQ(policy.evict(i), key_of(i));
    ASSERT_LE(policy.ghosts(), 90U);
  }
  EXPECT_EQ(policy.ghosts(), 90U);
}

// What a scan leaves of blocks that were used: the main queue's share.
int kept_after_a_scan(double small_share) {
  S3Fifo policy({.capacity_bytes = 100, .small_share = small_share});
  for (int i = 0; i < 9; ++i) policy.insert(key_of(i), facts_of(kRoot), i);
  for (int i = 0; i < 9; ++i) policy.touch(key_of(i), 10);
  for (int i = 100; i < 300; ++i) {
    policy.insert(key_of(i), facts_of(kRoot), i);
    while (policy.bytes() > 100) EXPECT_TRUE(policy.evict(i).has_value());
  }
  int kept = 0;
  for (int i = 0; i < 9; ++i) kept += policy.contains(key_of(i));
  return kept;
}
TEST(S3Fifo, AScanDoesNotWashTheMainQueueOut) {
  EXPECT_EQ(kept_after_a_scan(0.1), 9);
  EXPECT_GE(kept_after_a_scan(S3FifoOptions{}.small_share), 5);
}

TEST(S3Fifo, ALiftedChildTakesItsAncestorsAlong) {
  S3Fifo policy({.capacity_bytes = 100});
  for (const Put& put : kChain) policy.insert(key_of(put.key), facts_of(put.parent), 0);
  policy.insert(key_of(9), facts_of(kRoot), 0);
  policy.touch(key_of(4), 1);
  EXPECT_EQ(policy.evict(2), key_of(9));
  for (int i = 1; i <= 4; ++i) EXPECT_TRUE(policy.in_main(key_of(i))) << i;
}

class EveryPolicy : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Names, EveryPolicy, testing::Values("lru", "s3fifo", "s3fifo10", "gdsf"));

TEST_P(EveryPolicy, EraseLeavesTheChildrenAndReleasesTheParent) {
  auto policy = make_eviction(GetParam(), 100);
  for (const Put& put : kChain) policy->insert(key_of(put.key), facts_of(put.parent), 0);
  policy->erase(key_of(3));
  policy->erase(key_of(77));
  EXPECT_EQ(policy->entries(), 3U);
  EXPECT_EQ(policy->bytes(), 30U);
  std::vector<BlockKey> order;
  while (auto key = policy->evict(1)) order.push_back(*key);
  ASSERT_EQ(order.size(), 3U);
  const auto at = [&](int n) { return std::find(order.begin(), order.end(), key_of(n)) - order.begin(); };
  EXPECT_LT(at(2), at(1));
}

TEST_P(EveryPolicy, InsertingAgainIsATouch) {
  auto policy = make_eviction(GetParam(), 100);
  policy->insert(key_of(1), facts_of(kRoot), 0);
  policy->insert(key_of(2), facts_of(kRoot), 1);
  policy->insert(key_of(1), facts_of(kRoot), 2);
  EXPECT_EQ(policy->entries(), 2U);
  EXPECT_EQ(policy->bytes(), 20U);
  EXPECT_EQ(policy->evict(3), key_of(2));
}

TEST_P(EveryPolicy, KeysInACircleStillLeave) {
  auto policy = make_eviction(GetParam(), 100);
  policy->insert(key_of(1), facts_of(2), 0);
  policy->insert(key_of(2), facts_of(1), 0);
  policy->insert(key_of(3), facts_of(3), 0);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(policy->evict(1).has_value());
  EXPECT_FALSE(policy->evict(1).has_value());
}

TEST(MakeEviction, RefusesAnUnknownName) {
  EXPECT_EQ(make_eviction("clock", 1), nullptr);
  EXPECT_NE(make_eviction(kDefaultEviction, 1), nullptr);
}

}  // namespace
}  // namespace leadline::kvstore
