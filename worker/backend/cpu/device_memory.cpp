#include "worker/backend/cpu/device_memory.h"

#include <sys/mman.h>

#include <string>

#include "monitoring/check.h"

namespace leadline::worker::cpu {

namespace {

constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
constexpr std::int32_t kMaxHeadDim = 1024;  // attention_split's stack copy

std::string refused(std::int64_t bytes, std::string_view what) {
  return "cannot allocate " + std::to_string(bytes) + " bytes for " + std::string(what);
}

}  // namespace

Result<DeviceMemory> DeviceMemory::allocate(std::int64_t bytes, std::string_view what) {
  LEADLINE_CHECK(bytes >= 0, "negative size");
  DeviceMemory memory;
  if (bytes == 0) return memory;
  void* p = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return monitoring::fail(Errc::out_of_memory, refused(bytes, what));
  if (bytes >= kHugePage) (void)madvise(p, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // a hint
  memory.data_ = p;
  memory.bytes_ = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_) munmap(data_, static_cast<std::size_t>(bytes_));
}

Result<std::unique_ptr<KvPool>> CpuKvPool::create(std::uint32_t units, std::int32_t head_dim, DType dtype) {
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16)
    return monitoring::fail(Errc::configuration, "KV dtype " + std::string(transport::name_of(dtype)) +
                                                     ": not one of f32, bf16, f16");
  if (head_dim < 2 || head_dim % 2 != 0 || head_dim > kMaxHeadDim)
    return monitoring::fail(Errc::unsupported_model, "head_dim " + std::to_string(head_dim) +
                                                         ": must be even, 2.." + std::to_string(kMaxHeadDim));
  const std::int64_t size = static_cast<std::int64_t>(transport::bits_of(dtype) / 8);
  UnitLayout layout;
  layout.head_dim = head_dim;
  layout.padded_dim = (head_dim + 15) / 16 * 16;
  layout.format = static_cast<int>(dtype);
  layout.v_offset = std::int64_t{head_dim} * kPageTokens * size;
  layout.unit_bytes = (layout.v_offset + std::int64_t{layout.padded_dim} * kPageTokens * size + 63) / 64 * 64;
  auto memory = DeviceMemory::allocate(std::int64_t{units} * layout.unit_bytes, "the KV pool");
  if (!memory) return tl::unexpected(memory.error());
  return std::unique_ptr<KvPool>(new CpuKvPool(units, layout, std::move(*memory)));
}

}  // namespace leadline::worker::cpu
