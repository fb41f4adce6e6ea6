#pragma once
// PagePool: which pages are free, held, or reusable, by count. Allocates ids; not memory (backend KvPool) and
// not contents (prefix_index knows what a committed page holds).
// Thread: the step thread of rank 0. Outlives every handle (checked in the destructor).
// Invariants:
//   1. used() + reusable() + free() == pages(); used = referenced or pinned.
//   2. Free pages are handed out lowest number first after start, then last freed first: deterministic.
//   3. Reusable pages are ordered by release, oldest first. Holders release a sequence's last page first: the
//      tail of a chain is older than its head, so eviction takes chains from their ends.

#include <cstdint>
#include <optional>
#include <vector>

#include "worker/kvcache/page.h"

namespace leadline::worker {

class PagePool {
 public:
  explicit PagePool(std::uint32_t pages);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // A free page, private to the caller; none when no page is free (reusable ones are not taken: evict first).
  [[nodiscard]] std::optional<PageRef> allocate();
  // One more holder of a page that is held or reusable. REQUIRES: not free.
  [[nodiscard]] PageRef hold(PageId page);
  [[nodiscard]] PinnedPage pin(const PageRef& page);

  // From now on the page is immutable, and reusable when its last handle ends. REQUIRES: not committed.
  void commit(const PageRef& page);
  // Oldest reusable page: the next to evict. A decision only: nothing changes.
  [[nodiscard]] std::optional<PageId> oldest_reusable() const;
  // The `count` (or fewer) next pages to evict, in order.
  [[nodiscard]] std::vector<PageId> eviction_order(std::uint32_t count) const;
  // A reusable page becomes free; its contents are forgotten. REQUIRES: reusable.
  void evict(PageId page);

  [[nodiscard]] bool committed(PageId page) const { return slots_[page.value].committed; }
  [[nodiscard]] std::uint32_t references(PageId page) const { return slots_[page.value].references; }
  [[nodiscard]] bool pinned(PageId page) const { return slots_[page.value].pins != 0; }
  [[nodiscard]] std::uint32_t pages() const { return static_cast<std::uint32_t>(slots_.size()); }
  [[nodiscard]] std::uint32_t free() const { return static_cast<std::uint32_t>(free_.size()); }
  [[nodiscard]] std::uint32_t reusable() const { return reusable_; }
  [[nodiscard]] std::uint32_t used() const { return pages() - free() - reusable(); }

 private:
  friend class PageRef;
  friend class PinnedPage;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Slot {
    std::uint32_t references = 0, pins = 0;
    std::uint32_t older = kNone, newer = kNone;  // neighbours among the reusable
    bool committed = false;
    bool is_free = true;
  };
  void release(PageId page) noexcept;
  void unpin(PageId page) noexcept;
  void settle(PageId page) noexcept;  // no holder left: free or reusable
  void link_newest(std::uint32_t page) noexcept;
  void unlink(std::uint32_t page) noexcept;

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;  // a stack
  std::uint32_t oldest_ = kNone, newest_ = kNone, reusable_ = 0;
};

}  // namespace leadline::worker
