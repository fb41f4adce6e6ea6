#include "kvstore/store_metrics.h"

namespace leadline::kvstore {
namespace {
// In the order of the enums in the header.
constexpr std::string_view kReadEnds[] = {"hit", "miss", "corrupt", "foreign", "unavailable"};
constexpr std::string_view kStoreEnds[] = {"stored", "present", "full", "unavailable", "dropped"};
constexpr std::string_view kReads[] = {"0", "1", "2_3", "4_7", "8_up"};
constexpr std::string_view kEvictedBy[] = {"ranker", "guard", "s3fifo"};
constexpr std::string_view kAnswers[] = {"taken", "agreed", "differed", "late", "none", "resting"};
constexpr std::string_view kReturns[] = {"left", "spared"};

TierMetrics create_tier(monitoring::MetricsRegistry& r, std::string_view tier) {
  const monitoring::Labels labels = {{"tier", std::string(tier)}};
  TierMetrics m;
  m.capacity_bytes =
      r.gauge("leadline_kv_tier_capacity_bytes", "Bytes that a tier may use; 0: not bounded here.", labels);
  m.used_bytes =
      r.gauge("leadline_kv_tier_used_bytes", "Bytes that a tier uses, as it pays for them.", labels);
  m.blocks = r.gauge("leadline_kv_tier_blocks", "Blocks in a tier, as far as this process knows.", labels);
  m.queued_bytes = r.gauge("leadline_kv_tier_queued_bytes", "Bytes waiting to be stored in a tier.", labels);
  m.state = r.state<TierState>("leadline_kv_tier_state", "1 for a tier's present state, else 0.", "state",
                               kTierStateNames, labels);
  m.reads = r.counters<ReadEnd>("leadline_kv_tier_reads_total", "Blocks asked of a tier, by how it ended.",
                                "outcome", kReadEnds, labels);
  m.stores =
      r.counters<StoreEnd>("leadline_kv_tier_stores_total", "Blocks offered to a tier, by how it ended.",
                           "outcome", kStoreEnds, labels);
  m.load_bytes = r.counter("leadline_kv_tier_load_bytes_total", "Bytes of blocks read from a tier.", labels);
  m.store_bytes =
      r.counter("leadline_kv_tier_store_bytes_total", "Bytes of blocks stored in a tier.", labels);
  m.load_seconds = r.histogram("leadline_kv_tier_load_seconds",
                               "Time of reading one request's blocks from a tier.", labels);
  m.store_seconds =
      r.histogram("leadline_kv_tier_store_seconds", "Time of storing one block in a tier.", labels);
  m.evictions = r.counters<ReadsBeforeEviction>(
      "leadline_kv_tier_evictions_total", "Blocks evicted from a tier, by how often they had been read.",
      "reads", kReads, labels);
  m.evict_to_reuse_seconds = r.histogram("leadline_kv_tier_evict_to_reuse_seconds",
                                         "From a block's eviction to its return to the tier.", labels);
  m.ranked_evictions = r.counters<EvictedBy>(
      "leadline_kv_ranker_evictions_total",
      "With a learned ranker: blocks evicted from a tier, by whose choice it was.", "by", kEvictedBy, labels);
  m.ranker_answers = r.counters<RankerAnswer>(
      "leadline_kv_ranker_answers_total",
      "Times a learned ranker was asked which block leaves, by what became of its answer.", "answer",
      kAnswers, labels);
  m.shadow_returns = r.counters<ShadowReturn>("leadline_kv_ranker_shadow_returns_total",
                                              "Of choices in which S3-FIFO and a ranker in shadow differed: "
                                              "the block that left came back, or the one "
                                              "that the ranker had named was used before it left.",
                                              "block", kReturns, labels);
  return m;
}

}  // namespace

ReadsBeforeEviction reads_class(std::uint32_t reads) {
  if (reads == 0) return ReadsBeforeEviction::none;
  if (reads == 1) return ReadsBeforeEviction::one;
  if (reads <= 3) return ReadsBeforeEviction::two_or_three;
  return reads <= 7 ? ReadsBeforeEviction::four_to_seven : ReadsBeforeEviction::more;
}

StoreMetrics StoreMetrics::create(monitoring::MetricsRegistry& registry) {
  StoreMetrics m;
  for (std::size_t i = 0; i < kTierKinds; ++i) m.tiers[i] = create_tier(registry, kTierNames[i]);
  return m;
}

}  // namespace leadline::kvstore
