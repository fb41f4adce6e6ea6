#pragma once
// ReuseRanker: what a learned eviction must be able to say: how long until each of some blocks is used again.
// The features are Cold-RL's six (arXiv 2508.12485) for KV: age, size, uses, time between uses, idle time
// (what is left of a TTL), cost of a miss (its origin round trip). Not a policy (ranked.h guards one).
// kvstore knows no learner: worker/runtime and deploy/cli join policy/eviction_ranker to this. Thread: the
// tier's.

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace leadline::kvstore {

inline constexpr std::size_t kReuseFeatures = 6;
using ReuseFeatures = std::array<float, kReuseFeatures>;
inline constexpr const char* kReuseFeatureNames[kReuseFeatures] = {"age_s",          "kib",    "uses",
                                                                   "between_uses_s", "idle_s", "cost_ms"};

// What is known of a resident block besides its facts.
struct UseHistory {
  double inserted_s = 0, last_s = 0;
  std::uint32_t uses = 0;  // since it was inserted
};

inline ReuseFeatures reuse_features(std::uint64_t bytes, double cost_s, const UseHistory& h, double now_s) {
  const double age = std::max(0.0, now_s - h.inserted_s);
  const double between = h.uses == 0 ? age : std::max(0.0, h.last_s - h.inserted_s) / h.uses;
  return {static_cast<float>(age),
          static_cast<float>(static_cast<double>(bytes) / 1024),
          static_cast<float>(h.uses),
          static_cast<float>(between),
          static_cast<float>(std::max(0.0, now_s - h.last_s)),
          static_cast<float>(cost_s * 1e3)};
}

class ReuseRanker {
 public:
  virtual ~ReuseRanker() = default;
  // seconds[i]: expected until block i is used again, > 0. False: no answer. REQUIRES equal sizes.
  virtual bool rank(std::span<const ReuseFeatures> blocks, std::span<float> seconds) const = 0;
};

}  // namespace leadline::kvstore
