#pragma once
// PageSlots: the slots of KV units as host code reads and writes them: floats, or one slot's bits moved to
// another unit. Not attention and not ownership. CPU pages of f32, bf16 and f16 only; a device's pages, and
// pages with scales, are refused at start. Thread: the step thread.

#include <cstdint>
#include <span>

#include "worker/backend/backend.h"
#include "worker/errc.h"

namespace leadline::worker {

namespace cpu {
class CpuKvPool;
}

class PageSlots {
 public:
  static Result<PageSlots> of(KvPool& pool);

  [[nodiscard]] std::uint32_t head_dim() const { return dim_; }
  // The first `count` slots of a unit, (count, head_dim) each.
  void read_keys(std::uint32_t unit, std::uint32_t count, float* out) const;
  void read_values(std::uint32_t unit, std::uint32_t count, float* out) const;
  // Bit for bit.
  void copy_slot(std::uint32_t from, std::uint32_t from_slot, std::uint32_t to, std::uint32_t to_slot);
  // Rounded to the pages' dtype as fresh K and V are.
  void write_slot(std::uint32_t unit, std::uint32_t slot, const float* key, const float* value);

 private:
  explicit PageSlots(cpu::CpuKvPool& pool);
  cpu::CpuKvPool* pool_;
  std::uint32_t dim_;
};

}  // namespace leadline::worker
