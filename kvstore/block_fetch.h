#pragma once
// BlockFetch: one request's way to blocks: which keys and heads, and what has arrived so far. Filled by the
// store's threads, read by the step thread whenever it likes. Not a decision to fetch (fetch_chooser) and not
// a wait: the reader looks, and gives up when its own time is over (trap T3). Thread: any; one mutex.
// Invariant: leading() never falls.

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "kvstore/tier.h"

namespace leadline::kvstore {

// A run of consecutive blocks of one chain, for some KV heads.
struct BlockRun {
  BlockHeader shape;           // what every block must say: all but id, parent, depth and first_position
  std::vector<BlockKey> keys;  // in chain order
  BlockKey parent;             // of the first
  std::uint32_t first_depth = 0;
  std::vector<std::uint16_t> heads;
  [[nodiscard]] BlockHeader expected(std::size_t key, std::size_t head) const;
  [[nodiscard]] std::size_t blocks() const { return keys.size() * heads.size(); }
};

struct TierShare {  // of one fetch
  std::uint64_t blocks = 0, bytes = 0;
  double seconds = 0;
};

class BlockFetch {
 public:
  BlockFetch(BlockRun run, TierDeadline deadline) : run_(std::move(run)), deadline_(deadline) {
    blocks_.resize(run_.blocks());
    tiers_.resize(run_.blocks());
  }

  // the reader
  [[nodiscard]] const BlockRun& run() const { return run_; }
  [[nodiscard]] TierDeadline deadline() const { return deadline_; }
  [[nodiscard]] bool finished() const { return finished_.load(); }
  [[nodiscard]] std::size_t leading() const;  // keys of which every head is here
  [[nodiscard]] BlockPtr block(std::size_t key, std::size_t head) const;
  [[nodiscard]] TierKind tier(std::size_t key) const;  // the slowest that gave one of its heads
  [[nodiscard]] std::array<TierShare, kTierKinds> shares() const;
  void abandon() { abandoned_ = true; }  // nobody waits any more: stop reading

  // the store's threads
  [[nodiscard]] bool abandoned() const { return abandoned_.load(); }
  void arrived(std::size_t index, BlockPtr block, TierKind tier);  // index = key * heads + head
  void read_from(TierKind tier, const TierShare& share);
  void finish() { finished_ = true; }

 private:
  const BlockRun run_;
  const TierDeadline deadline_;
  std::atomic<bool> finished_{false}, abandoned_{false};
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::vector<BlockPtr> blocks_;  // [key][head]
  std::vector<TierKind> tiers_;
  std::size_t leading_ = 0;  // blocks
  std::array<TierShare, kTierKinds> shares_{};
};

// Shared: the store's threads fill it, the step thread reads it; whoever is last frees it.
using BlockFetchPtr = std::shared_ptr<BlockFetch>;

}  // namespace leadline::kvstore
