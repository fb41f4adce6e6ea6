#pragma once
// DeviceMemory: zeroed memory of the CPU "device", aligned to 64 bytes, in huge pages where the kernel
// agrees. Not a cache and not an arena: one mapping each. CpuBuffer and CpuKvPool give it the backend's
// faces. Thread: move-only value; freed by whoever owns it.

#include <cstdint>
#include <utility>

#include "worker/backend/backend.h"
#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~DeviceMemory();
  // Errc::out_of_memory names `what` and the bytes. 0 bytes is a valid, empty memory.
  static Result<DeviceMemory> allocate(std::int64_t bytes, std::string_view what);

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] float* floats() const { return static_cast<float*>(data_); }
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(DeviceMemory memory) : memory_(std::move(memory)) {}
  void* data() override { return memory_.data(); }
  std::int64_t bytes() const override { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
};

// Units in the layout of UnitLayout: K transposed, so that the slots of a page are the lanes of a vector; V
// row by row. Units lie where unit_place says; those that are no whole pages lie in order.
class CpuKvPool final : public KvPool {
 public:
  static Result<std::unique_ptr<KvPool>> create(const KvPoolShape& shape);
  std::uint32_t units() const override { return units_; }
  std::int64_t unit_bytes() const override { return layout_.unit_bytes; }
  DType dtype() const override { return static_cast<DType>(layout_.format); }
  [[nodiscard]] const UnitLayout& layout() const { return layout_; }
  [[nodiscard]] std::uint8_t* base() const { return static_cast<std::uint8_t*>(memory_.data()); }
  [[nodiscard]] std::uint8_t* unit(std::uint32_t u) const {
    return base() + unit_place(u, per_page_) * layout_.unit_bytes;
  }
  [[nodiscard]] std::uint32_t per_page() const { return per_page_; }

 private:
  CpuKvPool(std::uint32_t units, std::uint32_t per_page, const UnitLayout& layout, DeviceMemory memory)
      : units_(units), per_page_(per_page), layout_(layout), memory_(std::move(memory)) {}
  std::uint32_t units_, per_page_;
  UnitLayout layout_;
  DeviceMemory memory_;
};

}  // namespace leadline::worker::cpu
