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
  static Result<std::unique_ptr<PackedMatrix>> adopt(const PackedShape& shape, const PackedBytes& stored,
                                                     const PackedCheck& check, const CpuKernels& kernels,
                                                     ThreadPool& pool);
  std::int64_t out_features() const override { return out_features_; }
  std::int64_t in_features() const override { return in_features_; }
  DType format() const override { return format_; }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(stored_.size()); }
  int slices() const override { return slices_; }
  [[nodiscard]] std::span<const std::byte> stored() const override { return stored_; }
  [[nodiscard]] const void* panels() const { return stored_.data(); }
  [[nodiscard]] std::int64_t panel_count() const { return (out_features_ + kPanel - 1) / kPanel; }

 private:
  // Shape and zeroed memory.
  static Result<std::unique_ptr<PackedWeights>> empty(const PackedShape& shape, std::int64_t panel_bytes);
  explicit PackedWeights(const PackedShape& shape)
      : out_features_(shape.out_features),
        in_features_(shape.in_features),
        format_(shape.format),
        slices_(shape.slices) {}
  const std::int64_t out_features_, in_features_;
  const DType format_;
  const int slices_;
  // Where stored_ lies: in one of them.
  DeviceMemory memory_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> stored_;
};

}  // namespace leadline::worker::cpu
