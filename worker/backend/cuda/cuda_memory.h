#pragma once
// The backend's faces of an arena's pieces: buffers and the KV pool. Not the arena. Thread: the step thread.
// A unit: K (16, head_dim), V (16, head_dim), then for int8 and fp8 16 scales of K and 16 of V; a multiple of
// 256.

#include "worker/backend/backend.h"
#include "worker/backend/cuda/arena.h"
#include "worker/backend/cuda/page_copier.h"

namespace leadline::worker::cuda {

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(ArenaPiece piece, std::int64_t bytes) : piece_(std::move(piece)), bytes_(bytes) {}
  void* data() override { return piece_.data(); }
  std::int64_t bytes() const override { return bytes_; }

 private:
  const ArenaPiece piece_;
  const std::int64_t bytes_;
};

class CudaKvPool final : public KvPool {
 public:
  // configuration or unsupported_model, with the value, for what the kernels do not have; out_of_memory.
  static Result<std::unique_ptr<CudaKvPool>> create(Arena& arena, std::uint32_t units, std::int32_t head_dim,
                                                    DType dtype);
  std::uint32_t units() const override { return units_; }
  std::int64_t unit_bytes() const override { return place_.unit_bytes; }
  DType dtype() const override { return dtype_; }
  [[nodiscard]] std::int32_t head_dim() const { return head_dim_; }
  [[nodiscard]] const UnitPlace& place() const { return place_; }
  [[nodiscard]] UnitMemory memory() const {
    return {reinterpret_cast<std::byte*>(place_.pool), place_.unit_bytes};
  }

 private:
  CudaKvPool(std::uint32_t units, std::int32_t head_dim, DType dtype, const UnitPlace& place,
             ArenaPiece piece)
      : units_(units), head_dim_(head_dim), dtype_(dtype), place_(place), piece_(std::move(piece)) {}
  const std::uint32_t units_;
  const std::int32_t head_dim_;
  const DType dtype_;
  const UnitPlace place_;
  const ArenaPiece piece_;
};

}  // namespace leadline::worker::cuda
