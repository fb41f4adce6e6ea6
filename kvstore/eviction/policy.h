#pragma once
// EvictionPolicy: which block leaves a tier next. A value machine: the same calls give the same answers, time
// is an argument, bytes are numbers. Not the store of the bytes (tiers), not a clock, not I/O. Named by
// string: "s3fifo" (the default; decision 0037), "s3fifo10" (with the paper's tenth), "lru", "gdsf"; a
// learned one is eviction/ranked.h. Thread: none of its own; the tier that owns it calls it under whatever
// guards the tier.
//
// How a tier uses it: insert(new block), then while (bytes() > capacity) drop the block that evict() names.
// The new block may be the one named (then the policy did not want it).
// Invariants:
//   1. A block leaves only when none of its children is resident: a chain is taken from its end, so what
//      stays is always usable from its root on. (A block that comes before its parent does is a root until
//      the parent comes.)
//   2. evict() names a resident block, or none exactly when there is none.
//   3. bytes() and entries() count what was inserted and neither erased nor evicted since.
//   4. Work per call is O(log entries) or better, whatever the chains look like (amortised).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "kvstore/block_key.h"

namespace leadline::kvstore {

// What a policy may know of a block.
struct BlockFacts {
  std::uint64_t bytes = 0;  // as held in this tier: after codecs, header included
  double cost_s = 0;        // of a later miss: min(recompute, reload from the next tier), seconds
  BlockKey parent;          // the block before it in its chain; the root key for the first one
  std::uint32_t depth = 0;  // blocks before it in its chain
};

class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;
  EvictionPolicy() = default;
  EvictionPolicy(const EvictionPolicy&) = delete;
  EvictionPolicy& operator=(const EvictionPolicy&) = delete;

  // A block arrived. One that is resident already counts as touched, with the new facts' cost.
  virtual void insert(const BlockKey& key, const BlockFacts& facts, double now_s) = 0;
  // A block was read. A chain's reader touches every block it used; order does not matter.
  virtual void touch(const BlockKey& key, double now_s) = 0;  // unknown keys are ignored
  // A block left for another reason (damage, TTL, gc). Its children stay.
  virtual void erase(const BlockKey& key) = 0;
  // Chooses the next block to leave and forgets it (but for ghosts).
  [[nodiscard]] virtual std::optional<BlockKey> evict(double now_s) = 0;

  [[nodiscard]] virtual bool contains(const BlockKey& key) const = 0;
  [[nodiscard]] virtual std::uint64_t bytes() const = 0;
  [[nodiscard]] virtual std::size_t entries() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;
};

inline constexpr std::string_view kDefaultEviction = "s3fifo";

// Null for a name that is not known. `capacity_bytes` fixes the shares of queues and ghosts, it is not
// enforced here.
[[nodiscard]] std::unique_ptr<EvictionPolicy> make_eviction(std::string_view name,
                                                            std::uint64_t capacity_bytes);
using EvictionFactory = std::function<std::unique_ptr<EvictionPolicy>(std::uint64_t capacity_bytes)>;

}  // namespace leadline::kvstore
