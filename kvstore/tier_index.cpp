#include "kvstore/tier_index.h"

#include "monitoring/check.h"

namespace leadline::kvstore {
namespace {

constexpr std::size_t kRemembered = 1U << 16;

// One chain per KV head: the policy's key is the block's with the head folded into its last bytes.
BlockKey with_head(BlockKey key, std::uint16_t head) {
  key.bytes[30] ^= static_cast<std::uint8_t>(head >> 8);
  key.bytes[31] ^= static_cast<std::uint8_t>(head);
  return key;
}

BlockKey policy_key(const BlockId& id) {
  return with_head(id.key, id.head);
}

}  // namespace

TierIndex::TierIndex(const TierIndexOptions& options, std::uint64_t capacity_bytes)
    : policy_(options.eviction ? options.eviction(capacity_bytes)
                               : make_eviction(kDefaultEviction, capacity_bytes)),
      cost_(options.cost) {
  LEADLINE_CHECK(policy_ != nullptr, "no eviction policy");
}

std::optional<double> TierIndex::insert(const BlockId& id, const Facts& facts, double now_s) {
  const auto [it, fresh] = entries_.try_emplace(id, IndexEntry{facts.bytes, facts.expires_unix_s, 0});
  if (!fresh) return std::nullopt;
  bytes_ += facts.bytes;
  by_policy_key_.emplace(policy_key(id), id);
  const double cost_s = cost_ == nullptr ? 0 : cost_->of(facts.depth);
  policy_->insert(policy_key(id), {facts.bytes, cost_s, with_head(facts.parent, id.head), facts.depth},
                  now_s);
  const auto gone = gone_.find(id);
  if (gone == gone_.end()) return std::nullopt;
  const double ago = now_s - gone->second;
  gone_.erase(gone);
  return ago;
}

const IndexEntry* TierIndex::find(const BlockId& id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

void TierIndex::read(const BlockId& id, double now_s) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  ++it->second.reads;
  policy_->touch(policy_key(id), now_s);
}

std::optional<IndexEntry> TierIndex::erase(const BlockId& id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return std::nullopt;
  const IndexEntry entry = it->second;
  bytes_ -= entry.bytes;
  entries_.erase(it);
  by_policy_key_.erase(policy_key(id));
  policy_->erase(policy_key(id));
  return entry;
}

std::optional<Evicted> TierIndex::evict(double now_s) {
  const std::optional<BlockKey> key = policy_->evict(now_s);
  if (!key) return std::nullopt;
  const auto named = by_policy_key_.find(*key);
  LEADLINE_CHECK(named != by_policy_key_.end(), "the eviction policy names a block that is not here");
  const Evicted out{named->second, entries_.at(named->second)};
  bytes_ -= out.entry.bytes;
  entries_.erase(out.id);
  by_policy_key_.erase(named);
  remember(out.id, now_s);
  return out;
}

void TierIndex::remember(const BlockId& id, double now_s) {
  gone_[id] = now_s;
  gone_order_.emplace_back(id, now_s);
  while (gone_order_.size() > kRemembered) {
    const auto it = gone_.find(gone_order_.front().first);
    if (it != gone_.end() && it->second == gone_order_.front().second) gone_.erase(it);
    gone_order_.pop_front();
  }
}

std::vector<BlockId> TierIndex::ids() const {
  std::vector<BlockId> ids;
  ids.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  return ids;
}

}  // namespace leadline::kvstore
