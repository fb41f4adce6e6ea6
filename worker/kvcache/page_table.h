#pragma once
// PageTable: the pages of one sequence in slot order, and how many slots are in use. Not tokens, not keys
// (sequence_cache). Uniform layout: one list for all layers and heads (kv_layout.h); slots are physical,
// positions are the sequence's own affair.
// Thread: the step thread of rank 0.
// Invariants:
//   1. Exactly ceil(slots / 16) pages.
//   2. A slot is written only on a page that nobody else holds and that is not committed (else: copied
//   first).
//   3. Pages are released last first.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/kvcache/page.h"
#include "worker/kvcache/page_pool.h"

namespace leadline::worker {

class PageTable {
 public:
  explicit PageTable(PagePool& pool) : pool_(&pool) {}
  PageTable(PageTable&&) = default;
  PageTable& operator=(PageTable&&) = delete;
  ~PageTable() { clear(); }

  [[nodiscard]] std::uint32_t slots() const { return slots_; }
  [[nodiscard]] std::span<const std::uint32_t> pages() const { return ids_; }  // for uniform_kv_table
  [[nodiscard]] PageId page(std::uint32_t index) const { return PageId{ids_[index]}; }
  [[nodiscard]] const PageRef& ref(std::uint32_t index) const { return refs_[index]; }

  // Free pages that append(n) takes: the new ones, and one for the copy of a last page that may not be
  // written.
  [[nodiscard]] std::uint32_t pages_needed(std::uint32_t n) const;
  [[nodiscard]] bool last_needs_copy() const;  // the next slot is on a page that may not be written
  // Pages that nobody else holds: what leaves the "used" count when this table goes.
  [[nodiscard]] std::uint32_t sole_pages() const;

  // n more slots, all writable. A last page that may not be written is replaced by a fresh one: the copy to
  // make is appended to `copies` and the old page handed to `keep` (it must stay held until the copy was
  // made). REQUIRES: pages_needed(n) free pages.
  void append(std::uint32_t n, std::vector<PageCopy>& copies, std::vector<PageRef>& keep);
  // A full, already filled page (prefix hit, swap-in). REQUIRES: slots() % 16 == 0; 1 <= filled <= 16.
  void attach(PageRef page, std::uint32_t filled);
  // Keeps the first n slots (rejected drafts, cancelled rows). REQUIRES: n <= slots().
  void truncate(std::uint32_t n);
  // Page `index` holds the same bytes as `same`: take that one (two sequences computed one prefix).
  void replace(std::uint32_t index, PageRef same);
  // A second table over the same pages, the last one shared until one of the two writes it.
  [[nodiscard]] PageTable fork() const;
  // The first `pages` go, as their tokens were compressed; REQUIRES: all of them full, or the table ends
  // there.
  [[nodiscard]] std::vector<PageRef> take_front(std::uint32_t pages);
  void clear();
  // Gives all handles away, in slot order; the table is empty afterwards.
  [[nodiscard]] std::vector<PageRef> take();

 private:
  PagePool* pool_;
  std::vector<PageRef> refs_;
  std::vector<std::uint32_t> ids_;  // refs_[i].id(), contiguous for the device view
  std::uint32_t slots_ = 0;
};

}  // namespace leadline::worker
