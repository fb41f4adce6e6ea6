#pragma once
// OrderedEviction: policies that are one number per block, smallest leaves first. LRU: the time of the last
// use. GDSF (Cherkasova, HPL-98-69, "GreedyDual-Size with Frequency"): inflation + uses * cost / bytes, where
// inflation is the number of the block evicted last; it weighs what a miss costs against the room it takes.
// Not a queue (s3_fifo.h). Thread, invariants: EvictionPolicy's. Equal numbers leave in order of insertion.

#include <set>
#include <utility>
#include <vector>

#include "kvstore/eviction/chains.h"

namespace leadline::kvstore {

class OrderedEviction final : public EvictionPolicy {
 public:
  enum class Kind : std::uint8_t { lru, gdsf };
  explicit OrderedEviction(Kind kind) : kind_(kind) {}

  void insert(const BlockKey& key, const BlockFacts& facts, double now_s) override;
  void touch(const BlockKey& key, double now_s) override;
  void erase(const BlockKey& key) override;
  [[nodiscard]] std::optional<BlockKey> evict(double now_s) override;
  [[nodiscard]] bool contains(const BlockKey& key) const override { return chains_.find(key) != nullptr; }
  [[nodiscard]] std::uint64_t bytes() const override { return chains_.bytes(); }
  [[nodiscard]] std::size_t entries() const override { return chains_.size(); }
  [[nodiscard]] std::string_view name() const override { return kind_ == Kind::lru ? "lru" : "gdsf"; }
  [[nodiscard]] std::vector<BlockKey> oldest(std::size_t count) const;  // the next `count` leaves, in order

 private:
  struct Entry {
    BlockFacts facts;
    const BlockKey* key = nullptr;
    double rank = 0;
    std::uint64_t uses = 0;
    std::uint64_t order = 0;  // of insertion
  };
  struct Earlier {
    bool operator()(const Entry* a, const Entry* b) const {
      return std::pair(a->rank, a->order) < std::pair(b->rank, b->order);
    }
  };
  void rank(Entry& entry, double now_s) const;
  void remove(const BlockKey& key, Entry& entry);

  const Kind kind_;
  Chains<Entry> chains_;
  std::set<Entry*, Earlier> leaves_;
  std::uint64_t inserted_ = 0;
  double inflation_ = 0;
};

}  // namespace leadline::kvstore
