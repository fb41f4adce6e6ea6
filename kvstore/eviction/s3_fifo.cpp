#include "kvstore/eviction/s3_fifo.h"

#include <algorithm>

#include "kvstore/eviction/ordered.h"

namespace leadline::kvstore {

void S3Fifo::Queue::push_newest(Entry& entry) {
  entry.queued = true;
  entry.newer = nullptr;
  entry.older = newest;
  (newest ? newest->newer : oldest) = &entry;
  newest = &entry;
}

void S3Fifo::Queue::push_oldest(Entry& entry) {
  entry.queued = true;
  entry.older = nullptr;
  entry.newer = oldest;
  (oldest ? oldest->older : newest) = &entry;
  oldest = &entry;
}

void S3Fifo::Queue::unlink(Entry& entry) {
  if (!entry.queued) return;
  (entry.newer ? entry.newer->older : newest) = entry.older;
  (entry.older ? entry.older->newer : oldest) = entry.newer;
  entry.queued = false;
  entry.newer = entry.older = nullptr;
}

bool S3Fifo::in_main(const BlockKey& key) const {
  const Entry* entry = chains_.find(key);
  return entry != nullptr && entry->main;
}

void S3Fifo::insert(const BlockKey& key, const BlockFacts& facts, double now_s) {
  if (Entry* known = chains_.find(key)) {
    known->facts.cost_s = facts.cost_s;
    touch(key, now_s);
    return;
  }
  Entry& entry = chains_.add(key, facts, [this](Entry& parent) { queue_of(parent).unlink(parent); });
  small_.bytes += facts.bytes;
  if (chains_.leaf(key)) small_.push_newest(entry);
  if (forget(key)) promote(entry);
}

void S3Fifo::touch(const BlockKey& key, double) {
  if (Entry* entry = chains_.find(key)) entry->uses = std::min<std::uint8_t>(entry->uses + 1, kMaxUses);
}

// Ancestors come along (invariant 2): each is lifted once in its life, so this is O(1) amortised.
void S3Fifo::promote(Entry& entry) {
  for (Entry* at = &entry; at != nullptr && !at->main; at = chains_.parent(*at)) {
    const bool queued = at->queued;
    small_.unlink(*at);
    small_.bytes -= at->facts.bytes;
    at->main = true;
    main_.bytes += at->facts.bytes;
    if (queued) main_.push_newest(*at);
  }
}

void S3Fifo::remove(const BlockKey& key, Entry& entry) {
  Queue& queue = queue_of(entry);
  queue.unlink(entry);
  queue.bytes -= entry.facts.bytes;
  chains_.remove(key, [this](Entry& parent) { queue_of(parent).push_oldest(parent); });
}

void S3Fifo::erase(const BlockKey& key) {
  if (Entry* entry = chains_.find(key)) remove(BlockKey(key), *entry);
}

S3Fifo::Entry* S3Fifo::settle_small() {
  while (Entry* entry = small_.oldest) {
    if (entry->uses < options_.promote_uses) return entry;
    entry->uses = 0;
    promote(*entry);
  }
  return nullptr;
}

S3Fifo::Entry* S3Fifo::settle_main() {
  while (Entry* entry = main_.oldest) {  // ends: every turn lowers a use count
    if (entry->uses == 0) return entry;
    --entry->uses;
    main_.unlink(*entry);
    main_.push_newest(*entry);
  }
  return nullptr;
}

std::optional<BlockKey> S3Fifo::evict(double) {
  if (chains_.size() == 0) return std::nullopt;
  const double target = options_.small_share * static_cast<double>(options_.capacity_bytes);
  Entry* entry = nullptr;
  bool ghost = false;
  if (static_cast<double>(small_.bytes) >= target || main_.oldest == nullptr) {
    entry = settle_small();
    ghost = entry != nullptr;
  }
  if (entry == nullptr) entry = settle_main();
  if (entry == nullptr) {
    entry = settle_small();
    ghost = entry != nullptr;
  }
  // Promotion may have moved the last leaf from one queue to the other.
  if (entry == nullptr) entry = settle_main();
  // No leaf at all: keys that name each other in a circle. SHA-256 makes none; a damaged index must not stop
  // a tier.
  if (entry == nullptr) entry = &chains_.begin()->second;
  const BlockKey key = *entry->key;
  const std::uint64_t bytes = entry->facts.bytes;
  remove(key, *entry);
  if (ghost) remember(key, bytes);
  return key;
}

// REQUIRES: the key is no ghost (it was resident until now).
void S3Fifo::remember(const BlockKey& key, std::uint64_t bytes) {
  const std::uint64_t charged = std::max<std::uint64_t>(bytes, 64);  // a key has a size, too
  ghost_line_.push_back({key, charged});
  ghosts_[key] = std::prev(ghost_line_.end());
  ghost_bytes_ += charged;
  const double limit = options_.ghost_share * static_cast<double>(options_.capacity_bytes);
  while (!ghost_line_.empty() && static_cast<double>(ghost_bytes_) > limit) {
    ghost_bytes_ -= ghost_line_.front().bytes;
    ghosts_.erase(ghost_line_.front().key);
    ghost_line_.pop_front();
  }
}

bool S3Fifo::forget(const BlockKey& key) {
  const auto it = ghosts_.find(key);
  if (it == ghosts_.end()) return false;
  ghost_bytes_ -= it->second->bytes;
  ghost_line_.erase(it->second);
  ghosts_.erase(it);
  return true;
}

std::unique_ptr<EvictionPolicy> make_eviction(std::string_view name, std::uint64_t capacity_bytes) {
  if (name == "s3fifo") return std::make_unique<S3Fifo>(S3FifoOptions{.capacity_bytes = capacity_bytes});
  if (name == "s3fifo10")
    return std::make_unique<S3Fifo>(S3FifoOptions{.capacity_bytes = capacity_bytes, .small_share = 0.1});
  if (name == "lru") return std::make_unique<OrderedEviction>(OrderedEviction::Kind::lru);
  if (name == "gdsf") return std::make_unique<OrderedEviction>(OrderedEviction::Kind::gdsf);
  return nullptr;
}

}  // namespace leadline::kvstore
