#pragma once
// MemoryTier: blocks in this process, bounded by bytes. Gives and takes BlockPtrs, so a block in use
// elsewhere outlives its eviction; what is counted is what the tier itself holds. Not shared between
// processes (disk_tier and redis_tier are). Thread: any; one mutex, held for map work only.

#include <memory>
#include <mutex>

#include "kvstore/tier.h"
#include "kvstore/tier_index.h"

namespace leadline::kvstore {

struct MemoryTierOptions {
  std::uint64_t capacity_bytes = 0;
  TierIndexOptions index;
  TierEvents events;
  UnixClock unix_now = unix_now_s;
};

class MemoryTier final : public Tier {
 public:
  explicit MemoryTier(MemoryTierOptions options);

  [[nodiscard]] TierKind kind() const override { return TierKind::memory; }
  [[nodiscard]] bool waits() const override { return false; }
  void get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) override;
  [[nodiscard]] std::size_t leading(std::span<const BlockId> ids, TierDeadline deadline) override;
  PutOutcome put(const BlockPtr& block, TierDeadline deadline) override;
  bool erase(const BlockId& id, TierDeadline deadline) override;
  [[nodiscard]] TierUsage usage() const override;
  [[nodiscard]] TierState state() const override { return TierState::ok; }
  [[nodiscard]] std::string why() const override { return {}; }

 private:
  void tell(const std::vector<Evicted>& evicted, std::optional<double> reused) const;

  const MemoryTierOptions options_;
  // guarded by mutex_
  mutable std::mutex mutex_;
  TierIndex index_;
  std::unordered_map<BlockId, BlockPtr> blocks_;
};

}  // namespace leadline::kvstore
