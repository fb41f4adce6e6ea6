#include "worker/kvcache/host_pages.h"

#include "monitoring/check.h"

namespace leadline::worker {

HostPageRef& HostPageRef::operator=(HostPageRef&& o) noexcept {
  if (this != &o) {
    reset();
    owner_ = std::exchange(o.owner_, nullptr);
    id_ = o.id_;
  }
  return *this;
}

void HostPageRef::reset() noexcept {
  if (HostPages* owner = std::exchange(owner_, nullptr)) owner->release(id_);
}

HostPages::HostPages(std::uint32_t slots) : taken_(slots, false) {
  free_.reserve(slots);
  for (std::uint32_t i = slots; i > 0; --i) free_.push_back(i - 1);
}

HostPages::~HostPages() {
  LEADLINE_CHECK(free() == slots(), "a host slot's handle outlives the swap buffer");
}

std::optional<HostPageRef> HostPages::allocate() {
  if (free_.empty()) return std::nullopt;
  const HostPageId slot{free_.back()};
  free_.pop_back();
  taken_[slot.value] = true;
  return HostPageRef(this, slot);
}

void HostPages::release(HostPageId slot) noexcept {
  LEADLINE_CHECK(taken_[slot.value], "a host slot is freed twice");
  taken_[slot.value] = false;
  free_.push_back(slot.value);
}

}  // namespace leadline::worker
