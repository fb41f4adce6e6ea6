#include "worker/compression/page_slots.h"

#include <cstring>
#include <string>
#include <vector>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/device_memory.h"

namespace leadline::worker {
namespace {

std::size_t element_bytes(const cpu::UnitLayout& layout) {
  return layout.format == cpu::kF32 ? 4 : 2;
}

template <typename T>
void move_key(const std::uint8_t* from, std::uint32_t a, std::uint8_t* to, std::uint32_t b, int dim) {
  for (int d = 0; d < dim; ++d)
    std::memcpy(to + (std::size_t(d) * kPageTokens + b) * sizeof(T),
                from + (std::size_t(d) * kPageTokens + a) * sizeof(T), sizeof(T));
}

}  // namespace

Result<PageSlots> PageSlots::of(KvPool& pool) {
  auto* cpu_pool = dynamic_cast<cpu::CpuKvPool*>(&pool);
  const DType dtype = pool.dtype();
  if (cpu_pool == nullptr)
    return monitoring::fail(Errc::configuration, "KV compression runs on the CPU backend's pages only");
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16)
    return monitoring::fail(Errc::configuration, "KV compression needs pages of f32, bf16 or f16, not " +
                                                     std::string(transport::name_of(dtype)));
  return PageSlots(*cpu_pool);
}

PageSlots::PageSlots(cpu::CpuKvPool& pool)
    : pool_(&pool), dim_(static_cast<std::uint32_t>(pool.layout().head_dim)) {}

void PageSlots::read_keys(std::uint32_t unit, std::uint32_t count, float* out) const {
  std::vector<float> turned(std::size_t{dim_} * kPageTokens);
  cpu::kScalarKernels.widen(pool_->unit(unit), pool_->layout().format,
                            static_cast<std::int64_t>(turned.size()), turned.data());
  for (std::uint32_t s = 0; s < count; ++s)
    for (std::uint32_t d = 0; d < dim_; ++d) out[std::size_t{s} * dim_ + d] = turned[d * kPageTokens + s];
}

void PageSlots::read_values(std::uint32_t unit, std::uint32_t count, float* out) const {
  const cpu::UnitLayout& layout = pool_->layout();
  const std::size_t row = static_cast<std::size_t>(layout.padded_dim) * element_bytes(layout);
  for (std::uint32_t s = 0; s < count; ++s)
    cpu::kScalarKernels.widen(pool_->unit(unit) + layout.v_offset + s * row, layout.format, dim_,
                              out + std::size_t{s} * dim_);
}

void PageSlots::copy_slot(std::uint32_t from, std::uint32_t from_slot, std::uint32_t to,
                          std::uint32_t to_slot) {
  const cpu::UnitLayout& layout = pool_->layout();
  const std::uint8_t* source = pool_->unit(from);
  std::uint8_t* target = pool_->unit(to);
  if (layout.format == cpu::kF32)
    move_key<float>(source, from_slot, target, to_slot, layout.head_dim);
  else
    move_key<std::uint16_t>(source, from_slot, target, to_slot, layout.head_dim);
  const std::size_t row = static_cast<std::size_t>(layout.padded_dim) * element_bytes(layout);
  std::memcpy(target + layout.v_offset + to_slot * row, source + layout.v_offset + from_slot * row, row);
}

void PageSlots::write_slot(std::uint32_t unit, std::uint32_t slot, const float* key, const float* value) {
  const cpu::UnitLayout& layout = pool_->layout();
  const std::size_t size = element_bytes(layout);
  std::uint8_t* target = pool_->unit(unit);
  std::vector<std::uint8_t> narrow(dim_ * size);
  cpu::kScalarKernels.narrow(key, layout.format, dim_, narrow.data());
  for (std::uint32_t d = 0; d < dim_; ++d)
    std::memcpy(target + (std::size_t{d} * kPageTokens + slot) * size, narrow.data() + d * size, size);
  const std::size_t row = static_cast<std::size_t>(layout.padded_dim) * size;
  cpu::kScalarKernels.narrow(value, layout.format, dim_, target + layout.v_offset + slot * row);
}

}  // namespace leadline::worker
