#pragma once
// replay: an access log under a policy and a capacity: what would have been found, in bytes and in seconds of
// computing spared. A block counts as found only if all blocks before it in its request's chain were found,
// for that is what a hit is. A look that misses brings the block in (the request computes it). Belady's MIN
// is the mark that no policy reaches: it evicts the leaf whose next look is furthest away (per byte sizes
// alike, so it is a mark, not a proof, where sizes differ). Pure.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kvstore/eviction/policy.h"
#include "kvstore/eviction/reuse_ranker.h"
#include "kvstore/replay/access_record.h"

namespace leadline::kvstore {

struct ReplayResult {
  std::string policy;
  std::uint64_t looks = 0, hits = 0, evictions = 0;
  double looked_bytes = 0, hit_bytes = 0;
  double looked_s = 0, saved_s = 0;  // cost of all looks; of those found
};

// Results count records from `count_from` on; those before warm the cache.
ReplayResult replay(std::span<const AccessRecord> records, EvictionPolicy& policy,
                    std::uint64_t capacity_bytes, std::size_t count_from = 0);
ReplayResult replay_belady(std::span<const AccessRecord> records, std::uint64_t capacity_bytes,
                           std::size_t count_from = 0);

// Distinct bytes of the log: what an endless cache would hold.
std::uint64_t footprint_bytes(std::span<const AccessRecord> records);

// For training: at moments of LRU evictions over the log, the features of the candidates and the seconds
// until each was looked for again (capped at `horizon_s`, which also stands for never).
struct ReuseSample {
  ReuseFeatures features;
  float seconds = 0;
};
std::vector<ReuseSample> reuse_samples(std::span<const AccessRecord> records, std::uint64_t capacity_bytes,
                                       double horizon_s, std::size_t limit);

}  // namespace leadline::kvstore
