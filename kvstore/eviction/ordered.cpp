#include "kvstore/eviction/ordered.h"

#include <algorithm>

namespace leadline::kvstore {

void OrderedEviction::rank(Entry& entry, double now_s) const {
  if (kind_ == Kind::lru) {
    entry.rank = now_s;
    return;
  }
  const double bytes = static_cast<double>(std::max<std::uint64_t>(entry.facts.bytes, 1));
  entry.rank = inflation_ + static_cast<double>(entry.uses) * entry.facts.cost_s / bytes;
}

void OrderedEviction::insert(const BlockKey& key, const BlockFacts& facts, double now_s) {
  if (Entry* known = chains_.find(key)) {
    known->facts.cost_s = facts.cost_s;
    touch(key, now_s);
    return;
  }
  Entry& entry = chains_.add(key, facts, [this](Entry& parent) { leaves_.erase(&parent); });
  entry.order = ++inserted_;
  entry.uses = 1;
  rank(entry, now_s);
  if (chains_.leaf(key)) leaves_.insert(&entry);
}

void OrderedEviction::touch(const BlockKey& key, double now_s) {
  Entry* entry = chains_.find(key);
  if (entry == nullptr) return;
  const bool leaf = leaves_.erase(entry) != 0;
  ++entry->uses;
  rank(*entry, now_s);
  if (leaf) leaves_.insert(entry);
}

void OrderedEviction::remove(const BlockKey& key, Entry& entry) {
  leaves_.erase(&entry);
  chains_.remove(BlockKey(key), [this](Entry& parent) { leaves_.insert(&parent); });
}

void OrderedEviction::erase(const BlockKey& key) {
  if (Entry* entry = chains_.find(key)) remove(key, *entry);
}

std::vector<BlockKey> OrderedEviction::oldest(std::size_t count) const {
  std::vector<BlockKey> keys;
  for (auto it = leaves_.begin(); it != leaves_.end() && keys.size() < count; ++it)
    keys.push_back(*(*it)->key);
  return keys;
}

std::optional<BlockKey> OrderedEviction::evict(double) {
  if (chains_.size() == 0) return std::nullopt;
  // No leaf: keys that name each other in a circle. SHA-256 makes none; a damaged index must not stop a tier.
  Entry& entry = leaves_.empty() ? chains_.begin()->second : **leaves_.begin();
  const BlockKey key = *entry.key;
  inflation_ = std::max(inflation_, kind_ == Kind::gdsf ? entry.rank : 0.0);
  remove(key, entry);
  return key;
}

}  // namespace leadline::kvstore
