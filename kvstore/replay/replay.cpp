#include "kvstore/replay/replay.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <unordered_map>

#include "kvstore/eviction/chains.h"
#include "kvstore/eviction/ordered.h"

namespace leadline::kvstore {
namespace {

BlockKey wide(std::uint64_t key) {
  BlockKey out;
  std::memcpy(out.bytes.data(), &key, 8);
  return out;
}
BlockFacts facts_of(const AccessRecord& r) {
  return {r.bytes, r.cost_s, wide(r.parent), r.depth};
}

// For each record the index of the next look at its key, or records.size().
std::vector<std::size_t> next_looks(std::span<const AccessRecord> records) {
  std::vector<std::size_t> next(records.size(), records.size());
  std::unordered_map<std::uint64_t, std::size_t> later;
  for (std::size_t i = records.size(); i-- > 0;) {
    if (const auto it = later.find(records[i].key); it != later.end()) next[i] = it->second;
    if (records[i].access == Access::look) later[records[i].key] = i;
  }
  return next;
}

// MIN over leaves. Told of the future by position.
class Belady final : public EvictionPolicy {
 public:
  void at(std::size_t next_look) { next_look_ = next_look; }  // of the record being replayed
  void insert(const BlockKey& key, const BlockFacts& facts, double) override {
    if (chains_.find(key) != nullptr) return touch(key, 0);
    Entry& entry = chains_.add(key, facts, [this](Entry& parent) { leaves_.erase(&parent); });
    entry.next = next_look_;
    if (chains_.leaf(key)) leaves_.insert(&entry);
  }
  void touch(const BlockKey& key, double) override {
    Entry* entry = chains_.find(key);
    if (entry == nullptr) return;
    const bool leaf = leaves_.erase(entry) != 0;
    entry->next = next_look_;
    if (leaf) leaves_.insert(entry);
  }
  void erase(const BlockKey& key) override {
    if (Entry* entry = chains_.find(key)) remove(*entry);
  }
  std::optional<BlockKey> evict(double) override {
    if (chains_.size() == 0) return std::nullopt;
    Entry& entry = leaves_.empty() ? chains_.begin()->second : **leaves_.rbegin();
    const BlockKey key = *entry.key;
    remove(entry);
    return key;
  }
  bool contains(const BlockKey& key) const override { return chains_.find(key) != nullptr; }
  std::uint64_t bytes() const override { return chains_.bytes(); }
  std::size_t entries() const override { return chains_.size(); }
  std::string_view name() const override { return "belady"; }

 private:
  struct Entry {
    BlockFacts facts;
    const BlockKey* key = nullptr;
    std::size_t next = 0;
  };
  struct Sooner {
    bool operator()(const Entry* a, const Entry* b) const {
      return a->next != b->next ? a->next < b->next : *a->key < *b->key;
    }
  };
  void remove(Entry& entry) {
    leaves_.erase(&entry);
    const BlockKey key = *entry.key;
    chains_.remove(key, [this](Entry& parent) { leaves_.insert(&parent); });
  }
  Chains<Entry> chains_;
  std::set<Entry*, Sooner> leaves_;
  std::size_t next_look_ = 0;
};

template <typename Before>
ReplayResult run(std::span<const AccessRecord> records, EvictionPolicy& policy, std::uint64_t capacity_bytes,
                 std::size_t count_from, Before&& before) {
  ReplayResult result;
  result.policy = policy.name();
  std::uint32_t request = 0;
  bool whole = true;  // the request's chain was found up to here
  for (std::size_t i = 0; i < records.size(); ++i) {
    const AccessRecord& r = records[i];
    const BlockKey key = wide(r.key);
    before(i);
    if (r.access == Access::look) {
      if (r.request != request || r.depth == 0) whole = true;
      request = r.request;
      const bool here = policy.contains(key);
      whole = whole && here;
      if (i >= count_from) {
        ++result.looks;
        result.looked_bytes += r.bytes;
        result.looked_s += r.cost_s;
        if (whole) ++result.hits, result.hit_bytes += r.bytes, result.saved_s += r.cost_s;
      }
      if (here) {
        policy.touch(key, r.time_s);
        continue;
      }
    } else if (policy.contains(key)) {
      continue;
    }
    policy.insert(key, facts_of(r), r.time_s);
    while (policy.bytes() > capacity_bytes && policy.evict(r.time_s).has_value()) ++result.evictions;
  }
  return result;
}

}  // namespace

ReplayResult replay(std::span<const AccessRecord> records, EvictionPolicy& policy,
                    std::uint64_t capacity_bytes, std::size_t count_from) {
  return run(records, policy, capacity_bytes, count_from, [](std::size_t) {});
}

ReplayResult replay_belady(std::span<const AccessRecord> records, std::uint64_t capacity_bytes,
                           std::size_t count_from) {
  Belady policy;
  const std::vector<std::size_t> next = next_looks(records);
  return run(records, policy, capacity_bytes, count_from, [&](std::size_t i) { policy.at(next[i]); });
}

std::uint64_t footprint_bytes(std::span<const AccessRecord> records) {
  std::unordered_map<std::uint64_t, std::uint32_t> blocks;
  for (const AccessRecord& r : records) blocks[r.key] = r.bytes;
  std::uint64_t sum = 0;
  for (const auto& [key, bytes] : blocks) sum += bytes;
  return sum;
}

namespace {

struct Seen {
  UseHistory history;
  std::uint32_t bytes = 0;
  float cost_s = 0;
};

std::uint64_t narrow(const BlockKey& key) {
  std::uint64_t id = 0;
  std::memcpy(&id, key.bytes.data(), 8);
  return id;
}

using LookTimes = std::unordered_map<std::uint64_t, std::vector<double>>;

float seconds_until(const LookTimes& looks, std::uint64_t block, double now_s, double horizon_s) {
  const auto times = looks.find(block);
  if (times == looks.end()) return static_cast<float>(horizon_s);
  const auto it = std::upper_bound(times->second.begin(), times->second.end(), now_s);
  return static_cast<float>(it == times->second.end() ? horizon_s : std::min(*it - now_s, horizon_s));
}

}  // namespace

std::vector<ReuseSample> reuse_samples(std::span<const AccessRecord> records, std::uint64_t capacity_bytes,
                                       double horizon_s, std::size_t limit) {
  LookTimes looks;
  for (const AccessRecord& r : records)
    if (r.access == Access::look) looks[r.key].push_back(r.time_s);
  const double end_s = records.empty() ? 0 : records.back().time_s;
  constexpr std::size_t kCandidates = 16;
  const std::size_t every =
      std::max<std::size_t>(1, records.size() * kCandidates / std::max<std::size_t>(limit, 1));
  std::vector<ReuseSample> samples;
  std::unordered_map<std::uint64_t, Seen> resident;
  OrderedEviction policy(OrderedEviction::Kind::lru);
  std::size_t evictions = 0;
  for (const AccessRecord& r : records) {
    const BlockKey key = wide(r.key);
    if (policy.contains(key)) {
      if (r.access == Access::put) continue;
      policy.touch(key, r.time_s);
      Seen& seen = resident[r.key];
      ++seen.history.uses;
      seen.history.last_s = r.time_s;
      continue;
    }
    policy.insert(key, facts_of(r), r.time_s);
    resident[r.key] = {{r.time_s, r.time_s, 0}, r.bytes, r.cost_s};
    while (policy.bytes() > capacity_bytes) {
      // The end of the log cannot tell what never comes back.
      if (++evictions % every == 0 && r.time_s + horizon_s <= end_s && samples.size() < limit)
        for (const BlockKey& candidate : policy.oldest(kCandidates)) {
          const Seen& seen = resident[narrow(candidate)];
          samples.push_back({reuse_features(seen.bytes, seen.cost_s, seen.history, r.time_s),
                             seconds_until(looks, narrow(candidate), r.time_s, horizon_s)});
        }
      const auto victim = policy.evict(r.time_s);
      if (!victim) break;
      resident.erase(narrow(*victim));
    }
  }
  return samples;
}

}  // namespace leadline::kvstore
