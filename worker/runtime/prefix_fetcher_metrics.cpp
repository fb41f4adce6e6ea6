#include "worker/runtime/prefix_fetcher_metrics.h"

namespace leadline::worker {

PrefixFetcherMetrics PrefixFetcherMetrics::create(monitoring::MetricsRegistry& r) {
  constexpr std::string_view kDecisions[] = {"fetch", "part", "recompute"};
  constexpr std::string_view kAccessEnds[] = {"written", "dropped", "lost"};
  constexpr std::string_view kRegrets[] = {"fetched", "computed"};
  PrefixFetcherMetrics m;
  m.accesses = r.counters<kvstore::AccessEnd>(
      "leadline_kv_access_records_total",
      "Records of the access log: written, dropped because the writer was behind, lost to the disk.",
      "outcome", kAccessEnds);
  for (std::size_t i = 0; i < kvstore::kTierKinds; ++i) {
    const monitoring::Labels labels = {{"tier", std::string(kvstore::kTierNames[i])}};
    m.decisions[i] = r.counters<FetchDecision>(
        "leadline_kv_fetch_decisions_total",
        "Prefixes found in a tier, by what was chosen: fetch, fetch a part, compute again.", "choice",
        kDecisions, labels);
    m.tokens[i] =
        r.counter("leadline_kv_tier_prompt_tokens_total", "Prompt tokens whose KV came from a tier.", labels);
  }
  m.regret_seconds = r.counters<FetchRegret>("leadline_kv_fetch_regret_seconds_total",
                                             "Time lost by choices, by what was done: fetches took longer "
                                             "than computing was expected to, computing took "
                                             "longer than the fetch that was passed over was expected to.",
                                             "done", kRegrets);
  m.timeouts =
      r.counter("leadline_kv_fetch_timeouts_total", "Fetches that were not complete at their deadline.");
  m.wait_seconds = r.histogram("leadline_kv_load_wait_seconds",
                               "Time a request waited for its prefix: looking where it is, and fetching it.");
  return m;
}

}  // namespace leadline::worker
