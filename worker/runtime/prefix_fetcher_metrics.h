#pragma once
// PrefixFetcherMetrics: what rank 0 counts of prefixes that it fetched or computed again. Not the tiers' own
// series (kvstore/store_metrics). Meaning: monitoring/README.md. Thread: handles from any thread.

#include <array>

#include "kvstore/replay/access_recorder.h"
#include "kvstore/tier.h"
#include "monitoring/metrics.h"

namespace leadline::worker {

enum class FetchDecision { fetch, part, recompute };  // part: fewer blocks than there were
enum class FetchRegret { fetched, computed };         // what was done and would better not have been
struct PrefixFetcherMetrics {
  std::array<monitoring::HandleSet<FetchDecision, monitoring::Counter>, kvstore::kTierKinds> decisions;
  monitoring::HandleSet<FetchRegret, monitoring::Counter> regret_seconds;
  monitoring::Counter timeouts;
  std::array<monitoring::Counter, kvstore::kTierKinds> tokens;
  monitoring::Histogram wait_seconds;  // of a sequence, for survey and fetch
  kvstore::AccessCounters accesses;    // of the access log, where there is one
  static PrefixFetcherMetrics create(monitoring::MetricsRegistry& registry);
};

}  // namespace leadline::worker
