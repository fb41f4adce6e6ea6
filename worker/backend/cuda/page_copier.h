#pragma once
// PageCopier: KV units between the device and host memory on a stream of its own, ordered with the step's
// stream by events. Not who moves when (scheduler). Thread: the step thread. Invariants: a copy out sees what
// steps before it wrote; a step sees what a copy in brought; the host waits only for copies out and for a
// full staging buffer.

#include <cstddef>
#include <cstdint>
#include <span>

#include "worker/backend/cuda/cuda_check.h"

namespace leadline::worker::cuda {

struct UnitMemory {
  std::byte* base = nullptr;
  std::int64_t unit_bytes = 0;
};

class PageCopier {
 public:
  static constexpr std::int64_t kStagingBytes = std::int64_t{8} << 20;

  PageCopier(Runtime& runtime, StreamId step_stream);
  [[nodiscard]] bool ready() const { return static_cast<bool>(staging_); }  // false: no pinned memory
  void read(const UnitMemory& pool, std::span<const std::uint32_t> units, std::byte* host);
  void write(const UnitMemory& pool, std::span<const std::uint32_t> units, const std::byte* host);

 private:
  void drain(const char* stage);

  Runtime& runtime_;
  const StreamId step_stream_;
  const Stream copies_;
  const Event steps_done_, copies_done_;
  const PinnedMemory staging_;
  bool busy_ = false;  // staging is still being read by a copy in
};

}  // namespace leadline::worker::cuda
