#include "kvstore/memory_tier.h"

namespace leadline::kvstore {
namespace {

// A map's node, its pointer and the index's three entries: measured at 500 to 600 bytes a block.
constexpr std::uint64_t kOverheadBytes = 640;
constexpr std::uint64_t kPolicyOverheadBytes = 320;  // of a policy that keeps the default beside itself

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::uint64_t unix_now_s() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
}

MemoryTier::MemoryTier(MemoryTierOptions options)
    : options_(std::move(options)), index_(options_.index, options_.capacity_bytes) {}

void MemoryTier::get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline) {
  const double now = now_s();
  const std::uint64_t unix = options_.unix_now();
  std::vector<BlockPtr> dropped;  // freed after the lock
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto it = blocks_.find(ids[i]);
    reads[i] = {};
    if (it == blocks_.end()) continue;
    if (expired(it->second->header(), unix)) {
      dropped.push_back(std::move(it->second));
      blocks_.erase(it);
      index_.erase(ids[i]);
      continue;
    }
    index_.read(ids[i], now);
    reads[i] = {GetOutcome::hit, it->second};
  }
}

std::size_t MemoryTier::leading(std::span<const BlockId> ids, TierDeadline) {
  const std::uint64_t unix = options_.unix_now();
  std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (; n < ids.size(); ++n) {
    const IndexEntry* entry = index_.find(ids[n]);
    if (entry == nullptr || (entry->expires_unix_s != 0 && entry->expires_unix_s <= unix)) break;
  }
  return n;
}

PutOutcome MemoryTier::put(const BlockPtr& block, TierDeadline) {
  const BlockHeader& h = block->header();
  const std::uint64_t bytes =
      block->bytes().size() + kOverheadBytes + (options_.index.eviction ? kPolicyOverheadBytes : 0);
  if (bytes > options_.capacity_bytes) return PutOutcome::full;
  const double now = now_s();
  std::vector<Evicted> evicted;
  std::vector<BlockPtr> dropped;  // freed after the lock
  std::optional<double> reused;
  PutOutcome outcome = PutOutcome::stored;
  {
    std::lock_guard lock(mutex_);
    if (index_.find(h.id) != nullptr) return PutOutcome::present;
    reused = index_.insert(h.id, {bytes, h.expires_unix_s, h.parent, h.depth}, now);
    blocks_.emplace(h.id, block);
    while (index_.bytes() > options_.capacity_bytes) {
      const std::optional<Evicted> victim = index_.evict(now);
      const auto it = blocks_.find(victim->id);
      if (victim->id == h.id) outcome = PutOutcome::full;  // the policy did not want it
      dropped.push_back(std::move(it->second));
      blocks_.erase(it);
      evicted.push_back(*victim);
    }
  }
  tell(evicted, reused);
  return outcome;
}

void MemoryTier::tell(const std::vector<Evicted>& evicted, std::optional<double> reused) const {
  if (options_.events.evicted)
    for (const Evicted& e : evicted) options_.events.evicted(e.entry.reads, e.entry.bytes);
  if (reused && options_.events.reused_after_eviction) options_.events.reused_after_eviction(*reused);
}

bool MemoryTier::erase(const BlockId& id, TierDeadline) {
  BlockPtr dropped;
  std::lock_guard lock(mutex_);
  const auto it = blocks_.find(id);
  if (it == blocks_.end()) return false;
  dropped = std::move(it->second);
  blocks_.erase(it);
  index_.erase(id);
  return true;
}

TierUsage MemoryTier::usage() const {
  std::lock_guard lock(mutex_);
  return {index_.bytes(), options_.capacity_bytes, index_.blocks()};
}

}  // namespace leadline::kvstore
