#include "worker/kvcache/page_table.h"

#include <gtest/gtest.h>

#include "worker/kvcache/kv_layout.h"

namespace leadline::worker {
namespace {

class PageTableTest : public ::testing::Test {
 protected:
  std::vector<std::uint32_t> pages(const PageTable& t) { return {t.pages().begin(), t.pages().end()}; }
  PagePool pool_{8};
  std::vector<PageRef> keep_;
  std::vector<PageCopy> copies_;
};

TEST_F(PageTableTest, AppendsPageByPage) {
  PageTable t(pool_);
  EXPECT_EQ(t.pages_needed(0), 0U);
  EXPECT_EQ(t.pages_needed(16), 1U);
  EXPECT_EQ(t.pages_needed(17), 2U);
  t.append(17, copies_, keep_);
  EXPECT_EQ(t.pages_needed(15), 0U);
  EXPECT_EQ(t.pages_needed(16), 1U);
  t.append(15, copies_, keep_);
  EXPECT_EQ(pages(t), (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(t.slots(), 32U);
  EXPECT_TRUE(copies_.empty());
}

TEST_F(PageTableTest, TruncateGivesEmptyPagesBack) {
  PageTable t(pool_);
  t.append(40, copies_, keep_);
  t.truncate(33);
  EXPECT_EQ(pool_.used(), 3U);
  t.truncate(32);
  EXPECT_EQ(pool_.used(), 2U);
  t.append(1, copies_, keep_);
  EXPECT_EQ(t.pages().size(), 3U);
  t.truncate(0);
  EXPECT_EQ(pool_.used(), 0U);
}

TEST_F(PageTableTest, ASharedLastPageIsCopiedBeforeItIsWritten) {
  PageTable a(pool_);
  a.append(20, copies_, keep_);
  PageTable b = a.fork();
  EXPECT_EQ(pages(a), pages(b));
  EXPECT_EQ(a.sole_pages(), 0U);
  EXPECT_EQ(b.pages_needed(1), 1U);
  EXPECT_EQ(b.pages_needed(13), 2U);
  b.append(1, copies_, keep_);
  EXPECT_EQ(copies_, (std::vector<PageCopy>{{PageId{1}, PageId{2}}}));
  EXPECT_EQ(pages(b), (std::vector<std::uint32_t>{0, 2}));
  keep_.clear();
  EXPECT_FALSE(a.last_needs_copy());  // alone again: writes in place
  a.append(1, copies_, keep_);
  EXPECT_EQ(copies_.size(), 1U);
}

TEST_F(PageTableTest, TheSourceOfACopyStaysUntilTheCallerLetsGo) {
  PageTable a(pool_);
  a.append(5, copies_, keep_);
  PageTable b = a.fork();
  b.append(1, copies_, keep_);
  a.clear();
  EXPECT_EQ(pool_.references(PageId{0}), 1U);
  keep_.clear();
  EXPECT_EQ(pool_.used(), 1U);
}

TEST_F(PageTableTest, AFullSharedPageNeedsNoCopy) {
  PageTable a(pool_);
  a.append(16, copies_, keep_);
  PageTable b = a.fork();
  EXPECT_EQ(b.pages_needed(1), 1U);
  b.append(1, copies_, keep_);
  EXPECT_TRUE(copies_.empty());
}

TEST_F(PageTableTest, ACommittedPageCutInTheMiddleIsCopied) {
  PageTable a(pool_);
  a.append(16, copies_, keep_);
  pool_.commit(a.ref(0));
  a.truncate(10);
  EXPECT_TRUE(a.last_needs_copy());
  a.append(1, copies_, keep_);
  EXPECT_EQ(copies_, (std::vector<PageCopy>{{PageId{0}, PageId{1}}}));
}

TEST(KvLayout, UnitsOfTheUniformLayout) {
  const KvLayout layout{.kind = TableLayout::uniform, .layers = 3, .kv_heads = 2};
  const std::uint32_t pages[] = {5, 0, 9};
  KvTable table = uniform_kv_table(layout, pages);
  for (std::uint32_t l = 0; l < layout.layers; ++l, table.base += layout.kv_heads)
    for (std::uint32_t h = 0; h < layout.kv_heads; ++h)
      for (std::uint32_t i = 0; i < 3; ++i)
        EXPECT_EQ(table.unit(h, i), uniform_unit(layout, PageId{pages[i]}, l, h)) << l << h << i;
  EXPECT_EQ(uniform_unit(layout, PageId{5}, 2, 1), 5U * 6 + 2 * 2 + 1);
  EXPECT_EQ(layout.units_per_page() * layout.lists(), 6U);
}

}  // namespace
}  // namespace leadline::worker
