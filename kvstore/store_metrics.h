#pragma once
// StoreMetrics: every series of the block store, each with its tier from the first day. Not computed here:
// the store fills the handles. What each means: monitoring/README.md. Thread: handles from any thread. Only a
// rank that exports metrics registers them; a default-constructed one counts nothing.

#include <array>

#include "kvstore/eviction/ranked.h"
#include "kvstore/tier.h"
#include "monitoring/metrics.h"

namespace leadline::kvstore {

enum class ReadEnd { hit, miss, corrupt, foreign, unavailable };
enum class StoreEnd { stored, present, full, unavailable, dropped };  // dropped: its queue was full
enum class ReadsBeforeEviction { none, one, two_or_three, four_to_seven, more };
[[nodiscard]] ReadsBeforeEviction reads_class(std::uint32_t reads);

struct TierMetrics {
  monitoring::Gauge capacity_bytes, used_bytes, blocks, queued_bytes;
  monitoring::StateGauge<TierState> state;
  monitoring::HandleSet<ReadEnd, monitoring::Counter> reads;
  monitoring::HandleSet<StoreEnd, monitoring::Counter> stores;
  monitoring::Counter load_bytes, store_bytes;
  monitoring::Histogram load_seconds, store_seconds;  // of one request's part, of one block
  monitoring::HandleSet<ReadsBeforeEviction, monitoring::Counter> evictions;
  monitoring::Histogram evict_to_reuse_seconds;
  // of a learned ranker, where there is one
  monitoring::HandleSet<EvictedBy, monitoring::Counter> ranked_evictions;
  monitoring::HandleSet<RankerAnswer, monitoring::Counter> ranker_answers;
  monitoring::HandleSet<ShadowReturn, monitoring::Counter> shadow_returns;
};

struct StoreMetrics {
  std::array<TierMetrics, kTierKinds> tiers;
  [[nodiscard]] const TierMetrics& of(TierKind kind) const { return tiers[static_cast<std::size_t>(kind)]; }
  static StoreMetrics create(monitoring::MetricsRegistry& registry);
};

}  // namespace leadline::kvstore
