#pragma once
// HostPages: slots of the host swap buffer, which every rank has in the same number and order. Not the bytes
// (step_executor moves them when the plan says so) and not a cache: a slot holds a page of one preempted
// sequence.
// Thread: the step thread of rank 0.
// Invariants: as PagePool's, without sharing: HostPageRef is move-only and frees its slot.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "worker/kvcache/page.h"

namespace leadline::worker {

class HostPages;

class HostPageRef {
 public:
  HostPageRef() = default;
  HostPageRef(HostPageRef&& o) noexcept : owner_(std::exchange(o.owner_, nullptr)), id_(o.id_) {}
  HostPageRef& operator=(HostPageRef&& o) noexcept;
  ~HostPageRef() { reset(); }
  [[nodiscard]] explicit operator bool() const { return owner_ != nullptr; }
  [[nodiscard]] HostPageId id() const { return id_; }
  void reset() noexcept;

 private:
  friend class HostPages;
  HostPageRef(HostPages* owner, HostPageId id) : owner_(owner), id_(id) {}
  HostPages* owner_ = nullptr;
  HostPageId id_;
};

class HostPages {
 public:
  explicit HostPages(std::uint32_t slots);
  ~HostPages();
  HostPages(const HostPages&) = delete;
  HostPages& operator=(const HostPages&) = delete;

  [[nodiscard]] std::optional<HostPageRef> allocate();  // none: swap is full
  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(taken_.size()); }
  [[nodiscard]] std::uint32_t free() const { return static_cast<std::uint32_t>(free_.size()); }

 private:
  friend class HostPageRef;
  void release(HostPageId slot) noexcept;
  std::vector<std::uint32_t> free_;  // a stack, lowest number first after start
  std::vector<bool> taken_;
};

}  // namespace leadline::worker
