#pragma once
// BlockPlan: the part of a StepPlan that moves blocks: which pages every rank seals and hands to its store,
// which blocks it begins to fetch, which fetched ones it puts on pages. Values only: rank 0 decides, all
// ranks do the same (trap T11). Not the doing (block_mover) and not the deciding (runtime/prefix_fetcher).
// Order of execution: seals before anything that writes pages; starts; restores after swap_in; polls; drops.

#include <cstdint>
#include <vector>

#include "kvstore/block_key.h"
#include "worker/kvcache/page.h"

namespace leadline::worker {

struct BlockSeal {  // a page whose tokens were all computed before this plan
  PageId page;
  std::uint32_t depth = 0;           // pages before it in its chain
  std::uint64_t expires_unix_s = 0;  // 0 = never
  kvstore::BlockKey key, parent;
  friend bool operator==(const BlockSeal&, const BlockSeal&) = default;
};

struct BlockFetchStart {
  std::uint32_t fetch = 0;  // rank 0's number for it
  std::uint32_t first_depth = 0;
  std::uint32_t deadline_us = 0;  // from now on; then what has arrived is all
  kvstore::BlockKey parent;
  std::vector<kvstore::BlockKey> keys;
  friend bool operator==(const BlockFetchStart&, const BlockFetchStart&) = default;
};

struct BlockRestore {
  std::uint32_t fetch = 0;
  std::uint32_t index = 0;  // of the fetch's keys
  PageId page;
  friend bool operator==(const BlockRestore&, const BlockRestore&) = default;
};

struct BlockPlan {
  std::vector<BlockSeal> seals;
  std::vector<BlockFetchStart> starts;
  std::vector<BlockRestore> restores;
  std::vector<std::uint32_t> polls;  // fetches whose state all ranks exchange in this step
  std::vector<std::uint32_t> drops;  // fetches that nobody needs any more
  // What computing a chain's first page takes, and how much more each page before one adds: for eviction. 0
  // us: not told.
  std::uint32_t page_us = 0, page_growth_ns = 0;
  [[nodiscard]] bool empty() const {
    return seals.empty() && starts.empty() && restores.empty() && polls.empty() && drops.empty();
  }
  friend bool operator==(const BlockPlan&, const BlockPlan&) = default;
};

// Of one fetch on one rank, or the least over all ranks.
struct BlockPoll {
  std::uint32_t leading = 0;   // keys whose blocks are all here
  std::uint32_t finished = 0;  // 1: no more will come
};

}  // namespace leadline::worker
