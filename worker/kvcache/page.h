#pragma once
// Pages as types: PageId names one, PageRef holds one, PinnedPage keeps one locked while a step uses it. Not
// memory: a page is a slab of units in the backend's KvPool (kv_layout.h says which); here only its
// ownership. Thread: the step thread of rank 0; other ranks see ids only (in the StepPlan). Invariants:
//   1. A page is free, or held (a PageRef or PinnedPage exists), or reusable (committed, held by nobody).
//   2. Handles are move-only: a page cannot leak or be freed twice; sharing is the named function share().
//   3. A committed page's slots are all filled and never written again.

#include <compare>
#include <cstdint>
#include <utility>

namespace leadline::worker {

struct PageId {  // a slab: the units of all layers and local KV heads of 16 tokens
  std::uint32_t value = 0;
  friend auto operator<=>(PageId, PageId) = default;
};
struct HostPageId {  // a slab-sized slot of the host swap buffer, the same index on every rank
  std::uint32_t value = 0;
  friend auto operator<=>(HostPageId, HostPageId) = default;
};

// What a step does to whole pages before its rows run (StepPlan).
struct PageCopy {
  PageId from, to;
  friend bool operator==(const PageCopy&, const PageCopy&) = default;
};
struct PageSwap {
  PageId page;
  HostPageId host;
  friend bool operator==(const PageSwap&, const PageSwap&) = default;
};

class PagePool;

// One reference to a page. Made by PagePool only; must not outlive it.
class PageRef {
 public:
  PageRef() = default;
  PageRef(PageRef&& o) noexcept : pool_(std::exchange(o.pool_, nullptr)), id_(o.id_) {}
  PageRef& operator=(PageRef&& o) noexcept;
  ~PageRef() { reset(); }
  [[nodiscard]] explicit operator bool() const { return pool_ != nullptr; }
  [[nodiscard]] PageId id() const { return id_; }  // REQUIRES: bool(*this)
  [[nodiscard]] PageRef share() const;             // one more reference to the same page
  void reset() noexcept;  // the last one frees the page, or makes it reusable if committed

 private:
  friend class PagePool;
  PageRef(PagePool* pool, PageId id) : pool_(pool), id_(id) {}
  PagePool* pool_ = nullptr;
  PageId id_;
};

// A page that a step in flight reads or writes: not reused, evicted or freed before this ends, whatever its
// holders do.
class PinnedPage {
 public:
  PinnedPage() = default;
  PinnedPage(PinnedPage&& o) noexcept : pool_(std::exchange(o.pool_, nullptr)), id_(o.id_) {}
  PinnedPage& operator=(PinnedPage&& o) noexcept;
  ~PinnedPage() { reset(); }
  [[nodiscard]] explicit operator bool() const { return pool_ != nullptr; }
  [[nodiscard]] PageId id() const { return id_; }
  void reset() noexcept;

 private:
  friend class PagePool;
  PinnedPage(PagePool* pool, PageId id) : pool_(pool), id_(id) {}
  PagePool* pool_ = nullptr;
  PageId id_;
};

}  // namespace leadline::worker
