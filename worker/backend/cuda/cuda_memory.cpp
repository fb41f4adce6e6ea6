#include "worker/backend/cuda/cuda_memory.h"

#include "worker/backend/cuda/kernel_select.h"

namespace leadline::worker::cuda {

Result<std::unique_ptr<CudaKvPool>> CudaKvPool::create(Arena& arena, std::uint32_t units,
                                                       std::int32_t head_dim, DType dtype) {
  const bool scaled = dtype == DType::i8 || dtype == DType::fp8;
  if (!scaled && dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16)
    return monitoring::fail(Errc::configuration, "KV dtype " + std::string(transport::name_of(dtype)) +
                                                     ": not one of f32, bf16, f16, int8, fp8");
  if (head_dim < 8 || head_dim % 8 != 0 || head_dim > kMaxHeadDim)
    return monitoring::fail(Errc::unsupported_model, "head_dim " + std::to_string(head_dim) +
                                                         ": the CUDA backend has multiples of 8 up to " +
                                                         std::to_string(kMaxHeadDim));
  const auto element = static_cast<std::int64_t>(transport::bits_of(dtype) / 8);
  UnitPlace place{};
  place.v_offset = std::int64_t{head_dim} * kPageSlots * element;
  place.scale_offset = 2 * place.v_offset;
  place.unit_bytes = (place.scale_offset + (scaled ? 2 * kPageSlots * 4 : 0) + 255) / 256 * 256;
  const std::int64_t bytes = place.unit_bytes * std::int64_t{units};
  auto taken = arena.take(bytes, "KV pool");
  if (!taken) return tl::unexpected(taken.error());
  place.pool = static_cast<std::uint8_t*>(*taken);
  return std::unique_ptr<CudaKvPool>(
      new CudaKvPool(units, head_dim, dtype, place, ArenaPiece(arena, *taken, bytes)));
}

}  // namespace leadline::worker::cuda
