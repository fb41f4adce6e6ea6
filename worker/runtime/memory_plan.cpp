#include "worker/runtime/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>

namespace leadline::worker {
namespace {

constexpr std::int64_t kPageTokenCount = 16;

std::string in_mib(std::int64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

// Of the host's free memory, this rank's.
std::int64_t share_of(const MemoryRequest& r) {
  return r.available_bytes / std::max(1, r.ranks_on_host);
}

MemoryPlan with_swap(const MemoryRequest& r, std::int64_t pages) {
  MemoryPlan plan;
  plan.pages = static_cast<std::uint32_t>(pages);
  plan.pool_bytes = pages * r.page_bytes;
  const std::int64_t swap = r.swap_bytes < 0 ? std::min(plan.pool_bytes, share_of(r) / 4) : r.swap_bytes;
  plan.host_pages = static_cast<std::uint32_t>(std::min<std::int64_t>(swap / r.page_bytes, 1 << 24));
  plan.swap_bytes = plan.host_pages * r.page_bytes;
  return plan;
}

// Pages in a device's own memory: up to all of what is free there; only the swap pages are the host's.
Result<MemoryPlan> plan_device_memory(const MemoryRequest& r, std::int64_t pages_per_sequence) {
  if (r.kv_pool_bytes > r.device_bytes)
    return monitoring::fail(Errc::out_of_memory, "--kv-pool " + in_mib(r.kv_pool_bytes) +
                                                     " per rank: the GPU has " + in_mib(r.device_bytes) +
                                                     " free for pages");
  std::int64_t pages = r.kv_pool_bytes > 0
                           ? r.kv_pool_bytes / r.page_bytes
                           : std::min(pages_per_sequence * r.max_sequences, r.device_bytes / r.page_bytes);
  pages = std::min<std::int64_t>(pages, std::numeric_limits<std::int32_t>::max());
  if (pages < pages_per_sequence)
    return monitoring::fail(Errc::out_of_memory,
                            "one sequence of --max-model-len " + std::to_string(r.max_model_len) + " needs " +
                                in_mib(pages_per_sequence * r.page_bytes) +
                                " of KV pages, the GPU has room for " + in_mib(pages * r.page_bytes) +
                                ": lower --max-model-len or raise --gpu-memory-utilization");
  return with_swap(r, pages);
}

}  // namespace

Result<MemoryPlan> plan_memory(const MemoryRequest& r) {
  const std::int64_t pages_per_sequence = (r.max_model_len + kPageTokenCount - 1) / kPageTokenCount + 1;
  if (r.device_bytes >= 0) return plan_device_memory(r, pages_per_sequence);
  const std::int64_t share = share_of(r);
  std::int64_t pages = 0;
  if (r.kv_pool_bytes > 0) {
    pages = r.kv_pool_bytes / r.page_bytes;
    if (r.available_bytes > 0 && r.kv_pool_bytes > share)
      return monitoring::fail(Errc::out_of_memory, "--kv-pool " + in_mib(r.kv_pool_bytes) +
                                                       " per rank: this host has " +
                                                       in_mib(r.available_bytes) + " free for " +
                                                       std::to_string(r.ranks_on_host) + " ranks");
  } else {
    pages = std::min(pages_per_sequence * r.max_sequences,
                     std::max<std::int64_t>(pages_per_sequence, share / 4 / r.page_bytes));
  }
  pages = std::min<std::int64_t>(pages, std::numeric_limits<std::int32_t>::max());
  if (pages < pages_per_sequence || (r.available_bytes > 0 && pages * r.page_bytes > share))
    return monitoring::fail(
        Errc::out_of_memory,
        "one sequence of --max-model-len " + std::to_string(r.max_model_len) + " needs " +
            in_mib(pages_per_sequence * r.page_bytes) + " of KV pages per rank, the pool has " +
            in_mib(std::min(pages * r.page_bytes, share)) + ": lower --max-model-len or raise --kv-pool");
  return with_swap(r, pages);
}

std::int64_t available_memory_bytes() {
  std::int64_t available = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::int64_t kib = 0;
    std::string unit;
    if (key == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
    std::getline(meminfo, unit);
  }
  std::ifstream limit_file("/sys/fs/cgroup/memory.max"), use_file("/sys/fs/cgroup/memory.current");
  std::int64_t limit = 0, use = 0;
  if (limit_file >> limit && use_file >> use)
    available = std::min(available, std::max<std::int64_t>(0, limit - use));
  return available;
}

}  // namespace leadline::worker
