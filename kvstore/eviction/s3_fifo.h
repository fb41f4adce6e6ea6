#pragma once
// S3Fifo: two FIFO queues and a ghost (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
// 2023, algorithm 1), sized in bytes, over the leaves of chains. New blocks enter the small queue; what is
// used there moves to the main one, what is not leaves quickly and is remembered by key: coming back, it
// enters the main queue at once. Not aware of cost: blocks of one model cost about the same per byte; gdsf
// and the ranker weigh it.
// Thread, invariants: EvictionPolicy's, and
//   1. Queues hold leaves only; an inner block keeps its class (small, main) and its uses, and when its last
//      child left it stands next in its queue's line, for it is older than that child.
//   2. A block that is lifted into the main class takes its resident ancestors along.
//   3. Ghosts are bounded by the bytes that their blocks had: the main queue's share.

#include <list>
#include <unordered_map>

#include "kvstore/eviction/chains.h"

namespace leadline::kvstore {

struct S3FifoOptions {
  std::uint64_t capacity_bytes = 0;
  double small_share = 0.5;  // of the capacity: the small queue's target; the paper's 0.1 is for objects
                             // that are looked for at once, a chat's blocks wait for its next turn
  std::uint32_t promote_uses = 1;  // uses after insertion that lift a block into the main queue
  double ghost_share = 0.9;        // of the capacity, in bytes of the blocks whose keys are remembered
};

class S3Fifo final : public EvictionPolicy {
 public:
  explicit S3Fifo(const S3FifoOptions& options) : options_(options) {}

  void insert(const BlockKey& key, const BlockFacts& facts, double now_s) override;
  void touch(const BlockKey& key, double now_s) override;
  void erase(const BlockKey& key) override;
  [[nodiscard]] std::optional<BlockKey> evict(double now_s) override;
  [[nodiscard]] bool contains(const BlockKey& key) const override { return chains_.find(key) != nullptr; }
  [[nodiscard]] std::uint64_t bytes() const override { return chains_.bytes(); }
  [[nodiscard]] std::size_t entries() const override { return chains_.size(); }
  [[nodiscard]] std::string_view name() const override { return "s3fifo"; }

  [[nodiscard]] std::size_t ghosts() const { return ghosts_.size(); }
  [[nodiscard]] bool in_main(const BlockKey& key) const;

 private:
  struct Entry {
    BlockFacts facts;
    const BlockKey* key = nullptr;
    Entry *newer = nullptr, *older = nullptr;
    std::uint8_t uses = 0;  // capped at kMaxUses
    bool main = false;
    bool queued = false;
  };
  struct Queue {
    Entry *newest = nullptr, *oldest = nullptr;
    std::uint64_t bytes = 0;  // of the class, inner blocks included
    void push_newest(Entry& entry);
    void push_oldest(Entry& entry);
    void unlink(Entry& entry);
  };
  static constexpr std::uint8_t kMaxUses = 3;

  Queue& queue_of(const Entry& entry) { return entry.main ? main_ : small_; }
  void promote(Entry& entry);
  void remove(const BlockKey& key, Entry& entry);
  void remember(const BlockKey& key, std::uint64_t bytes);
  [[nodiscard]] bool forget(const BlockKey& key);
  [[nodiscard]] Entry* settle_small();  // the small queue's next to leave, promoting those before it
  [[nodiscard]] Entry* settle_main();

  const S3FifoOptions options_;
  Chains<Entry> chains_;
  Queue small_, main_;
  struct Ghost {
    BlockKey key;
    std::uint64_t bytes;
  };
  std::list<Ghost> ghost_line_;  // oldest first
  std::unordered_map<BlockKey, std::list<Ghost>::iterator> ghosts_;
  std::uint64_t ghost_bytes_ = 0;
};

}  // namespace leadline::kvstore
