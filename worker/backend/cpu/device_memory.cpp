#include "worker/backend/cpu/device_memory.h"

#include <sys/mman.h>

#include <cstddef>
#include <string>

#include "monitoring/check.h"

namespace leadline::worker::cpu {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::int32_t kMaxHeadDim = 1024;  // attention_split's stack copy

std::string refused(std::int64_t bytes, std::string_view what) {
  return "cannot allocate " + std::to_string(bytes) + " bytes for " + std::string(what);
}

// What holds a huge page begins at one: else up to two of them at the ends of a matrix would be small pages.
void* map_aligned(std::size_t bytes) {
  const std::size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED || slack == 0) return mapped;
  constexpr std::size_t kPage = 4096;
  auto* begin = static_cast<std::byte*>(mapped);
  const std::size_t skip = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  const std::size_t end = (skip + bytes + kPage - 1) / kPage * kPage;
  const std::size_t whole = (bytes + slack + kPage - 1) / kPage * kPage;
  if (skip > 0) (void)munmap(begin, skip);
  if (end < whole) (void)munmap(begin + end, whole - end);
  return begin + skip;
}

}  // namespace

Result<DeviceMemory> DeviceMemory::allocate(std::int64_t bytes, std::string_view what) {
  LEADLINE_CHECK(bytes >= 0, "negative size");
  DeviceMemory memory;
  if (bytes == 0) return memory;
  void* p = map_aligned(static_cast<std::size_t>(bytes));
  if (p == MAP_FAILED) return monitoring::fail(Errc::out_of_memory, refused(bytes, what));
  if (static_cast<std::size_t>(bytes) >= kHugePage)
    (void)madvise(p, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // a hint
  memory.data_ = p;
  memory.bytes_ = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_) munmap(data_, static_cast<std::size_t>(bytes_));
}

Result<std::unique_ptr<KvPool>> CpuKvPool::create(const KvPoolShape& shape) {
  const auto [units, head_dim, dtype, units_per_page] = shape;
  LEADLINE_CHECK(units_per_page > 0, "no units per page");
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16 && dtype != DType::i8)
    return monitoring::fail(Errc::configuration, "KV dtype " + std::string(transport::name_of(dtype)) +
                                                     ": not one of f32, bf16, f16, int8");
  if (head_dim < 2 || head_dim % 2 != 0 || head_dim > kMaxHeadDim)
    return monitoring::fail(Errc::unsupported_model, "head_dim " + std::to_string(head_dim) +
                                                         ": must be even, 2.." + std::to_string(kMaxHeadDim));
  const std::int64_t size = static_cast<std::int64_t>(transport::bits_of(dtype) / 8);
  UnitLayout layout;
  layout.head_dim = head_dim;
  layout.padded_dim = (head_dim + 15) / 16 * 16;
  layout.format = static_cast<int>(dtype);
  layout.v_offset = std::int64_t{head_dim} * kPageTokens * size;
  layout.scale_offset =
      (layout.v_offset + std::int64_t{layout.padded_dim} * kPageTokens * size + 63) / 64 * 64;
  layout.unit_bytes = layout.scale_offset;
  if (dtype == DType::i8) layout.unit_bytes += 2 * kPageTokens * std::int64_t{sizeof(float)};
  const std::uint32_t per_page = units % units_per_page == 0 ? units_per_page : 1;
  const std::int64_t run = per_page == 1 ? 1 : std::int64_t{kPageRun} * per_page;
  const std::int64_t places =
      (units + run - 1) / run * run;  // whole runs; what nobody touches takes no memory
  auto memory = DeviceMemory::allocate(places * layout.unit_bytes, "the KV pool");
  if (!memory) return tl::unexpected(memory.error());
  return std::unique_ptr<KvPool>(new CpuKvPool(units, per_page, layout, std::move(*memory)));
}

}  // namespace leadline::worker::cpu
