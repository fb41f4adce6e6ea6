#pragma once
// Owning types over a Runtime: streams, events, graphs, device and pinned memory; each frees what it holds.
// Not the CUDA calls themselves: those are checked in device_runtime.cpp, with the stage's name in the error.
// Thread: the runtime's owner. Invariant: the Runtime outlives them.

#include <utility>

#include "worker/backend/cuda/runtime.h"

namespace leadline::worker::cuda {

template <typename Handle, void (Runtime::*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(Runtime& runtime, Handle handle) : runtime_(&runtime), handle_(handle) {}
  Owned(Owned&& o) noexcept : runtime_(o.runtime_), handle_(std::exchange(o.handle_, nullptr)) {}
  Owned& operator=(Owned&& o) noexcept {
    std::swap(runtime_, o.runtime_);
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) (runtime_->*kDestroy)(handle_);
  }
  [[nodiscard]] Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Runtime* runtime_ = nullptr;
  Handle handle_ = nullptr;
};

using Stream = Owned<StreamId, &Runtime::destroy_stream>;
using Event = Owned<EventId, &Runtime::destroy_event>;
using Graph = Owned<GraphId, &Runtime::destroy_graph>;
using DeviceMemory = Owned<void*, &Runtime::release>;
using PinnedMemory = Owned<void*, &Runtime::release_pinned>;

}  // namespace leadline::worker::cuda
