#pragma once
// Chains: the resident blocks of one tier and which of them are leaves (no resident child), the part that all
// eviction policies share. Not an order: each policy keeps its own over the leaves, told through the two
// hooks. Thread: the policy's.
// Invariants: a block is a leaf iff no resident block names it as its parent; a block that names itself has
// no parent. Every change of leafhood goes through on_leaf / on_inner exactly once.

#include <cstdint>
#include <unordered_map>

#include "kvstore/eviction/policy.h"

namespace leadline::kvstore {

// Entry: a policy's own record; REQUIRES members `BlockFacts facts` and `const BlockKey* key`.
template <typename Entry>
class Chains {
 public:
  [[nodiscard]] Entry* find(const BlockKey& key) {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] const Entry* find(const BlockKey& key) const {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] bool leaf(const BlockKey& key) const { return !children_.contains(key); }
  [[nodiscard]] Entry* parent(const Entry& entry) {
    return entry.facts.parent == *entry.key ? nullptr : find(entry.facts.parent);
  }

  // REQUIRES: not resident. Returns the entry, whose address is stable; `on_inner` hears of the parent if it
  // was a leaf. The caller puts the entry in its order if it is a leaf.
  template <typename OnInner>
  Entry& add(const BlockKey& key, const BlockFacts& facts, OnInner&& on_inner) {
    const auto it = entries_.try_emplace(key).first;
    it->second.key = &it->first;
    it->second.facts = facts;
    bytes_ += facts.bytes;
    if (facts.parent != key && ++children_[facts.parent] == 1)
      if (Entry* up = find(facts.parent)) on_inner(*up);
    return it->second;
  }
  // REQUIRES: resident, and out of the caller's order. `on_leaf` hears of the parent if it became a leaf.
  template <typename OnLeaf>
  void remove(const BlockKey& key, OnLeaf&& on_leaf) {
    const auto it = entries_.find(key);
    const BlockKey parent = it->second.facts.parent;
    const bool has_parent = parent != key;
    bytes_ -= it->second.facts.bytes;
    entries_.erase(it);
    if (!has_parent) return;
    const auto count = children_.find(parent);
    if (--count->second != 0) return;
    children_.erase(count);
    if (Entry* up = find(parent)) on_leaf(*up);
  }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] auto begin() { return entries_.begin(); }
  [[nodiscard]] auto end() { return entries_.end(); }

 private:
  std::unordered_map<BlockKey, Entry> entries_;
  std::unordered_map<BlockKey, std::uint32_t> children_;  // resident children of a key, resident or not
  std::uint64_t bytes_ = 0;
};

}  // namespace leadline::kvstore
