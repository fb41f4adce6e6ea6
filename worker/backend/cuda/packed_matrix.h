#pragma once
// CudaPackedMatrix: a weight matrix on the device as (slices, N, padded k): each slice's rows dense and
// padded with zeros to 16 bytes. fp8: a scale per output; int4: one per kInt4Group of k. Not the product
// (products.h). Thread: immutable after pack.

#include <span>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/backend/cuda/arena.h"

namespace leadline::worker::cuda {

// The host's side of packing: bytes and scales, ready to be sent. Pure.
struct PackedBytes {
  std::vector<std::uint8_t> data;
  std::vector<float> scales;
  std::int64_t n = 0, k = 0, padded = 0;
};
// configuration when the format is not f32, bf16, f16, fp8 or int4.
Result<PackedBytes> pack_bytes(std::span<const WeightPart> parts, DType format, int slices);

class CudaPackedMatrix final : public PackedMatrix {
 public:
  CudaPackedMatrix(const PackedBytes& packed, DType format, int slices, ArenaPiece data, ArenaPiece scales)
      : n_(packed.n),
        k_(packed.k),
        padded_(packed.padded),
        format_(format),
        slices_(slices),
        data_(std::move(data)),
        scales_(std::move(scales)) {}
  std::int64_t out_features() const override { return n_; }
  std::int64_t in_features() const override { return k_; }
  DType format() const override { return format_; }
  std::int64_t bytes() const override { return data_.bytes() + scales_.bytes(); }
  int slices() const override { return slices_; }
  [[nodiscard]] std::int64_t width() const { return k_ / slices_; }
  [[nodiscard]] std::int64_t padded() const { return padded_; }
  [[nodiscard]] const void* data() const { return data_.data(); }
  [[nodiscard]] const float* scales() const { return static_cast<const float*>(scales_.data()); }

 private:
  const std::int64_t n_, k_, padded_;
  const DType format_;
  const int slices_;
  const ArenaPiece data_, scales_;
};

}  // namespace leadline::worker::cuda
