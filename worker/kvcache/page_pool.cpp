#include "worker/kvcache/page_pool.h"

#include "monitoring/check.h"

namespace leadline::worker {

PageRef& PageRef::operator=(PageRef&& o) noexcept {
  if (this != &o) {
    reset();
    pool_ = std::exchange(o.pool_, nullptr);
    id_ = o.id_;
  }
  return *this;
}

PageRef PageRef::share() const {
  LEADLINE_CHECK(pool_ != nullptr, "sharing an empty handle");
  return pool_->hold(id_);
}

void PageRef::reset() noexcept {
  if (PagePool* pool = std::exchange(pool_, nullptr)) pool->release(id_);
}

PinnedPage& PinnedPage::operator=(PinnedPage&& o) noexcept {
  if (this != &o) {
    reset();
    pool_ = std::exchange(o.pool_, nullptr);
    id_ = o.id_;
  }
  return *this;
}

void PinnedPage::reset() noexcept {
  if (PagePool* pool = std::exchange(pool_, nullptr)) pool->unpin(id_);
}

PagePool::PagePool(std::uint32_t pages) : slots_(pages) {
  free_.reserve(pages);
  for (std::uint32_t i = pages; i > 0; --i) free_.push_back(i - 1);
}

PagePool::~PagePool() {
  LEADLINE_CHECK(used() == 0, "a page handle outlives its pool");
}

std::optional<PageRef> PagePool::allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page{free_.back()};
  free_.pop_back();
  Slot& slot = slots_[page.value];
  slot.is_free = false;
  slot.references = 1;
  return PageRef(this, page);
}

PageRef PagePool::hold(PageId page) {
  LEADLINE_CHECK(page.value < pages(), "a page that the pool does not have");
  Slot& slot = slots_[page.value];
  LEADLINE_CHECK(!slot.is_free, "holding a free page");
  if (slot.references == 0 && slot.pins == 0) unlink(page.value);
  ++slot.references;
  return PageRef(this, page);
}

PinnedPage PagePool::pin(const PageRef& page) {
  LEADLINE_CHECK(page.pool_ == this, "pinning a page of another pool, or none");
  ++slots_[page.id().value].pins;
  return PinnedPage(this, page.id());
}

void PagePool::commit(const PageRef& page) {
  LEADLINE_CHECK(page.pool_ == this, "committing a page of another pool, or none");
  Slot& slot = slots_[page.id().value];
  LEADLINE_CHECK(!slot.committed, "a page is committed twice");
  slot.committed = true;
}

std::optional<PageId> PagePool::oldest_reusable() const {
  if (oldest_ == kNone) return std::nullopt;
  return PageId{oldest_};
}

std::vector<PageId> PagePool::eviction_order(std::uint32_t count) const {
  std::vector<PageId> order;
  for (std::uint32_t p = oldest_; p != kNone && order.size() < count; p = slots_[p].newer)
    order.push_back(PageId{p});
  return order;
}

void PagePool::evict(PageId page) {
  LEADLINE_CHECK(page.value < pages(), "a page that the pool does not have");
  Slot& slot = slots_[page.value];
  LEADLINE_CHECK(slot.committed && slot.references == 0 && slot.pins == 0, "evicting a page that is in use");
  unlink(page.value);
  slot = Slot{};
  free_.push_back(page.value);
}

void PagePool::release(PageId page) noexcept {
  Slot& slot = slots_[page.value];
  LEADLINE_CHECK(slot.references > 0, "a page is released more often than held");
  if (--slot.references == 0 && slot.pins == 0) settle(page);
}

void PagePool::unpin(PageId page) noexcept {
  Slot& slot = slots_[page.value];
  LEADLINE_CHECK(slot.pins > 0, "a page is unpinned more often than pinned");
  if (--slot.pins == 0 && slot.references == 0) settle(page);
}

void PagePool::settle(PageId page) noexcept {
  Slot& slot = slots_[page.value];
  if (slot.committed) {
    link_newest(page.value);
    return;
  }
  slot = Slot{};
  free_.push_back(page.value);  // reserved in the constructor: never allocates
}

void PagePool::link_newest(std::uint32_t page) noexcept {
  slots_[page].older = newest_;
  slots_[page].newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = page;
  newest_ = page;
  ++reusable_;
}

void PagePool::unlink(std::uint32_t page) noexcept {
  const Slot& slot = slots_[page];
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  slots_[page].older = slots_[page].newer = kNone;
  --reusable_;
}

}  // namespace leadline::worker
