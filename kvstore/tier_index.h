#pragma once
// TierIndex: what one tier knows of its blocks without their bytes: size, reads, expiry, and which leaves
// next. Shared by memory and disk; the choice is an EvictionPolicy's, every time is an argument. Not the
// bytes, not I/O, not a lock (the tier guards it). Invariants:
//   1. bytes() is the sum over the entries, and after make_room() leaves room for what was asked, or nothing
//      is left.
//   2. The policy knows exactly the entries.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kvstore/block.h"
#include "kvstore/eviction/policy.h"
#include "kvstore/recompute_cost.h"

namespace leadline::kvstore {

struct IndexEntry {
  std::uint64_t bytes = 0;
  std::uint64_t expires_unix_s = 0;
  std::uint32_t reads = 0;
};

struct Evicted {
  BlockId id;
  IndexEntry entry;
};

struct TierIndexOptions {
  EvictionFactory eviction;                   // none: the default policy; lives as long as the index
  std::shared_ptr<const RecomputeCost> cost;  // null: all blocks cost the same
};

class TierIndex {
 public:
  TierIndex(const TierIndexOptions& options, std::uint64_t capacity_bytes);

  struct Facts {
    std::uint64_t bytes = 0, expires_unix_s = 0;
    BlockKey parent;
    std::uint32_t depth = 0;
  };
  // A block arrived; one that is here stays as it is. Returns how long ago this block was evicted from here,
  // if that is remembered.
  std::optional<double> insert(const BlockId& id, const Facts& facts, double now_s);
  [[nodiscard]] const IndexEntry* find(const BlockId& id) const;
  void read(const BlockId& id, double now_s);  // counts and touches; unknown ids are ignored
  std::optional<IndexEntry> erase(const BlockId& id);
  // Next to leave; it is forgotten, but for the time. None: empty.
  std::optional<Evicted> evict(double now_s);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t blocks() const { return entries_.size(); }
  [[nodiscard]] std::vector<BlockId> ids() const;

 private:
  void remember(const BlockId& id, double now_s);

  std::unique_ptr<EvictionPolicy> policy_;
  std::shared_ptr<const RecomputeCost> cost_;
  std::unordered_map<BlockId, IndexEntry> entries_;
  std::unordered_map<BlockKey, BlockId> by_policy_key_;
  std::uint64_t bytes_ = 0;
  // Evicted lately, oldest first, bounded.
  std::unordered_map<BlockId, double> gone_;
  std::deque<std::pair<BlockId, double>> gone_order_;
};

}  // namespace leadline::kvstore
