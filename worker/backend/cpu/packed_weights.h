#pragma once
// PackedWeights: a weight matrix as panels of kPanel outputs with k in sequence: element (k, j) of panel p at
// [p * K * kPanel + k * kPanel + j]; outputs beyond the last are zero. The same layout on every ISA level.
// int8, int4, and bf16 for tables with split_group: blocks, see
// cpu_kernels.h. Not a product (cpu_backend). Invariant: narrowing rounds
// to nearest even; a format equal to the file's keeps the bits. Thread: immutable after pack(), which runs on
// the pool.

#include <cstdint>
#include <memory>
#include <span>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/device_memory.h"
#include "worker/backend/cpu/thread_pool.h"
#include "worker/backend/tensor.h"
#include "worker/errc.h"

namespace leadline::worker::cpu {

class PackedWeights final : public PackedMatrix {
 public:
  static Result<std::unique_ptr<PackedMatrix>> pack(std::span<const WeightPart> parts, DType format,
                                                    int slices, const CpuKernels& kernels, ThreadPool& pool);
  static Result<std::unique_ptr<PackedMatrix>> restore(const PackedShape& shape, std::int64_t bytes,
                                                       const PackedReader& read, const CpuKernels& kernels,
                                                       ThreadPool& pool);
  std::int64_t out_features() const override { return out_features_; }
  std::int64_t in_features() const override { return in_features_; }
  DType format() const override { return format_; }
  std::int64_t bytes() const override { return memory_.bytes(); }
  int slices() const override { return slices_; }
  [[nodiscard]] std::span<const std::byte> stored() const override {
    return {static_cast<const std::byte*>(memory_.data()), static_cast<std::size_t>(memory_.bytes())};
  }
  [[nodiscard]] const void* panels() const { return memory_.data(); }
  [[nodiscard]] std::int64_t panel_count() const { return (out_features_ + kPanel - 1) / kPanel; }

 private:
  // Shape and zeroed memory.
  static Result<std::unique_ptr<PackedWeights>> empty(const PackedShape& shape, std::int64_t panel_bytes);
  PackedWeights() = default;
  std::int64_t out_features_ = 0, in_features_ = 0;
  DType format_ = DType::f32;
  int slices_ = 1;
  DeviceMemory memory_;
};

}  // namespace leadline::worker::cpu
