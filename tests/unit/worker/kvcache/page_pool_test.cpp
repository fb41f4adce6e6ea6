#include "worker/kvcache/page_pool.h"

#include <gtest/gtest.h>

#include "worker/kvcache/host_pages.h"

namespace leadline::worker {
namespace {

TEST(PagePool, HandsOutLowestFirstAndTakesBack) {
  PagePool pool(3);
  PageRef a = *pool.allocate(), b = *pool.allocate(), c = *pool.allocate();
  EXPECT_EQ(a.id().value, 0U);
  EXPECT_EQ(b.id().value, 1U);
  EXPECT_EQ(c.id().value, 2U);
  EXPECT_FALSE(pool.allocate().has_value());
  b.reset();
  EXPECT_EQ(pool.free(), 1U);
  EXPECT_EQ(pool.allocate()->id().value, 1U);  // and freed again with the temporary
  EXPECT_EQ(pool.free(), 1U);
}

TEST(PagePool, SharedPagesLeaveWithTheLastHolder) {
  PagePool pool(1);
  PageRef a = *pool.allocate();
  PageRef b = a.share();
  EXPECT_EQ(pool.references(a.id()), 2U);
  a.reset();
  EXPECT_EQ(pool.used(), 1U);
  b = PageRef();
  EXPECT_EQ(pool.used(), 0U);
}

TEST(PagePool, MovingDoesNotCount) {
  PagePool pool(2);
  PageRef a = *pool.allocate();
  PageRef b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT: the moved-from state is part of the contract
  b = *pool.allocate();
  EXPECT_EQ(b.id().value, 1U);
  EXPECT_EQ(pool.free(), 1U);
}

TEST(PagePool, APinnedPageIsNotReused) {
  PagePool pool(1);
  PinnedPage pin;
  {
    const PageRef a = *pool.allocate();
    pin = pool.pin(a);
  }
  EXPECT_EQ(pool.used(), 1U);
  EXPECT_FALSE(pool.allocate().has_value());
  pin.reset();
  EXPECT_TRUE(pool.allocate().has_value());
}

TEST(PagePool, CommittedPagesAreReusableInReleaseOrder) {
  PagePool pool(4);
  std::vector<PageRef> refs;
  for (int i = 0; i < 4; ++i) {
    refs.push_back(*pool.allocate());
    pool.commit(refs.back());
  }
  for (const int i : {2, 0, 3}) refs[i].reset();
  EXPECT_EQ(pool.reusable(), 3U);
  EXPECT_EQ(pool.free(), 0U);
  EXPECT_EQ(pool.eviction_order(9), (std::vector<PageId>{PageId{2}, PageId{0}, PageId{3}}));
  refs[0] = pool.hold(PageId{0});  // a hit takes it out of the middle; released, it is the newest
  EXPECT_EQ(pool.eviction_order(9), (std::vector<PageId>{PageId{2}, PageId{3}}));
  refs[0].reset();
  EXPECT_EQ(pool.oldest_reusable(), PageId{2});
  pool.evict(PageId{2});
  EXPECT_EQ(pool.free(), 1U);
  EXPECT_FALSE(pool.committed(PageId{2}));
  EXPECT_EQ(pool.eviction_order(1), (std::vector<PageId>{PageId{3}}));
  EXPECT_EQ(pool.used() + pool.reusable() + pool.free(), pool.pages());
}

TEST(PagePoolDeathTest, OurBugsEndTheProcess) {
  EXPECT_DEATH(
      {
        PagePool pool(1);
        new PageRef(*pool.allocate());
      },
      "outlives");
  EXPECT_DEATH(
      {
        PagePool pool(1);
        const PageRef r = pool.hold(PageId{0});
      },
      "free page");
  EXPECT_DEATH(
      {
        PagePool pool(1);
        const PageRef r = *pool.allocate();
        pool.evict(r.id());
      },
      "in use");
}

TEST(HostPages, SlotsComeAndGo) {
  HostPages host(2);
  HostPageRef a = *host.allocate();
  {
    const HostPageRef b = *host.allocate();
    EXPECT_EQ(b.id().value, 1U);
    EXPECT_FALSE(host.allocate().has_value());
  }
  EXPECT_EQ(host.free(), 1U);
  a = *host.allocate();
  EXPECT_EQ(a.id().value, 1U);
  EXPECT_EQ(host.free(), 1U);
}

}  // namespace
}  // namespace leadline::worker
