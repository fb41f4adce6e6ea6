#pragma once
// MemoryPlan: how many KV pages and swap slots a rank gets. Pure: numbers in, numbers out or a message with
// the numbers. Not an allocator. Thread: any.

#include <cstdint>
#include <string>

#include "worker/errc.h"

namespace leadline::worker {

struct MemoryRequest {
  std::int64_t kv_pool_bytes = 0;    // 0 = automatic
  std::int64_t swap_bytes = -1;      // -1 = as the pool, 0 = none
  std::int64_t page_bytes = 0;       // of all layers and local KV heads, 16 tokens
  std::int64_t available_bytes = 0;  // memory of this host that is free now
  std::int64_t device_bytes = -1;  // of this rank's device that pages may take; -1: pages are in host memory
  std::int32_t ranks_on_host = 1;
  std::int32_t max_sequences = 1;
  std::int32_t max_model_len = 1;  // tokens
};

struct MemoryPlan {
  std::uint32_t pages = 0, host_pages = 0;
  std::int64_t pool_bytes = 0, swap_bytes = 0;
};

// Automatic: what max_sequences of max_model_len could fill, at most a quarter of this rank's share of free
// memory; on a device all that is free there, if they could fill it. out_of_memory when not even one sequence
// of max_model_len fits, or when what was asked for exceeds the share.
Result<MemoryPlan> plan_memory(const MemoryRequest& request);

// MemAvailable of /proc/meminfo, or the cgroup's limit less its use, whichever is smaller; 0 if unknown.
std::int64_t available_memory_bytes();

}  // namespace leadline::worker
