#include "worker/kvcache/prefix_index.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

kvstore::BlockKey key(std::uint8_t n) {
  kvstore::BlockKey k;
  k.bytes[31] = n;
  return k;
}

TEST(PrefixIndex, InsertCommitsAndHoldFinds) {
  PagePool pool(2);
  PrefixIndex index(pool);
  PageRef page = *pool.allocate();
  EXPECT_FALSE(index.insert(key(1), page));
  EXPECT_TRUE(pool.committed(page.id()));
  page.reset();
  EXPECT_EQ(pool.reusable(), 1U);
  EXPECT_FALSE(index.hold(key(2)));
  const PageRef again = index.hold(key(1));
  EXPECT_EQ(again.id().value, 0U);
  EXPECT_EQ(pool.reusable(), 0U);
}

TEST(PrefixIndex, TheFirstPageOfAKeyStays) {
  PagePool pool(2);
  PrefixIndex index(pool);
  const PageRef first = *pool.allocate(), second = *pool.allocate();
  EXPECT_FALSE(index.insert(key(1), first));
  const PageRef same = index.insert(key(1), second);
  EXPECT_EQ(same.id(), first.id());
  EXPECT_FALSE(pool.committed(second.id()));
  EXPECT_EQ(index.entries(), 1U);
}

TEST(PrefixIndex, MatchStopsAtTheFirstGap) {
  PagePool pool(4);
  PrefixIndex index(pool);
  const kvstore::BlockKey keys[] = {key(1), key(2), key(3), key(4)};
  PageRef held = *pool.allocate();
  EXPECT_FALSE(index.insert(keys[0], held));
  for (const int i : {1, 3}) {
    const PageRef page = *pool.allocate();
    EXPECT_FALSE(index.insert(keys[i], page));
  }
  const PrefixIndex::Match m = index.match(keys);
  EXPECT_EQ(m.pages, 2U);
  EXPECT_EQ(m.held_pages, 1U);
}

TEST(PrefixIndex, EvictsLeastRecentlyReleasedAndNeverAHeldPage) {
  PagePool pool(3);
  PrefixIndex index(pool);
  std::vector<PageRef> refs;
  for (std::uint8_t i = 0; i < 3; ++i) {
    refs.push_back(*pool.allocate());
    EXPECT_FALSE(index.insert(key(i), refs.back()));
  }
  refs[2].reset();
  refs[0].reset();
  EXPECT_EQ(index.evict(1), 1U);
  EXPECT_FALSE(index.find(key(2)).has_value());
  EXPECT_TRUE(index.find(key(0)).has_value());
  EXPECT_EQ(index.evict(5), 1U);  // page 1 is held
  EXPECT_TRUE(index.find(key(1)).has_value());
  EXPECT_EQ(index.entries(), 1U);
  EXPECT_EQ(index.evictions(), 2U);
  EXPECT_EQ(pool.free(), 2U);
}

}  // namespace
}  // namespace leadline::worker
