#include "worker/kvcache/page_table.h"

#include <algorithm>

#include "monitoring/check.h"
#include "worker/kvcache/kv_layout.h"

namespace leadline::worker {

bool PageTable::last_needs_copy() const {
  if (slots_ % kPageTokens == 0) return false;  // full, or no page: the next slot is on a fresh one
  const PageId last = refs_.back().id();
  return pool_->references(last) > 1 || pool_->committed(last);
}

std::uint32_t PageTable::pages_needed(std::uint32_t n) const {
  if (n == 0) return 0;
  const auto held = static_cast<std::uint32_t>(refs_.size());
  return pages_for_slots(slots_ + n) - held + (last_needs_copy() ? 1 : 0);
}

std::uint32_t PageTable::sole_pages() const {
  std::uint32_t n = 0;
  for (const PageRef& ref : refs_) n += pool_->references(ref.id()) == 1 ? 1 : 0;
  return n;
}

void PageTable::append(std::uint32_t n, std::vector<PageCopy>& copies, std::vector<PageRef>& keep) {
  LEADLINE_CHECK(pages_needed(n) <= pool_->free(), "append without enough free pages");
  if (n == 0) return;
  if (last_needs_copy()) {
    PageRef fresh = std::move(*pool_->allocate());
    copies.push_back({refs_.back().id(), fresh.id()});
    keep.push_back(std::exchange(refs_.back(), std::move(fresh)));
    ids_.back() = refs_.back().id().value;
  }
  slots_ += n;
  while (refs_.size() < pages_for_slots(slots_)) {
    refs_.push_back(std::move(*pool_->allocate()));
    ids_.push_back(refs_.back().id().value);
  }
}

void PageTable::attach(PageRef page, std::uint32_t filled) {
  LEADLINE_CHECK(slots_ % kPageTokens == 0, "attaching a page behind a partial one");
  LEADLINE_CHECK(page && filled >= 1 && filled <= kPageTokens, "attaching no page, or one with an odd count");
  ids_.push_back(page.id().value);
  refs_.push_back(std::move(page));
  slots_ += filled;
}

void PageTable::truncate(std::uint32_t n) {
  LEADLINE_CHECK(n <= slots_, "truncating to more than there is");
  slots_ = n;
  while (refs_.size() > pages_for_slots(slots_)) {
    refs_.pop_back();
    ids_.pop_back();
  }
}

void PageTable::replace(std::uint32_t index, PageRef same) {
  LEADLINE_CHECK(index < refs_.size() && same, "replacing a page that is not there");
  ids_[index] = same.id().value;
  refs_[index] = std::move(same);
}

PageTable PageTable::fork() const {
  PageTable copy(*pool_);
  for (const PageRef& ref : refs_) copy.refs_.push_back(ref.share());
  copy.ids_ = ids_;
  copy.slots_ = slots_;
  return copy;
}

std::vector<PageRef> PageTable::take_front(std::uint32_t pages) {
  LEADLINE_CHECK(pages <= refs_.size(), "taking more pages than there are");
  std::vector<PageRef> taken;
  for (std::uint32_t i = 0; i < pages; ++i) taken.push_back(std::move(refs_[i]));
  refs_.erase(refs_.begin(), refs_.begin() + pages);
  ids_.erase(ids_.begin(), ids_.begin() + pages);
  slots_ -= std::min(slots_, pages * kPageTokens);
  return taken;
}

void PageTable::clear() {
  truncate(0);
}

std::vector<PageRef> PageTable::take() {
  std::vector<PageRef> out = std::move(refs_);
  refs_.clear();
  ids_.clear();
  slots_ = 0;
  return out;
}

}  // namespace leadline::worker
