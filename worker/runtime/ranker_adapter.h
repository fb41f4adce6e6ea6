#pragma once
// RankerAdapter: policy's EvictionRanker as kvstore's ReuseRanker (the two directories do not know each
// other). Thread: any; immutable. Invariant: the features are the same six in the same order (checked at
// compile time).

#include <string>

#include "kvstore/eviction/reuse_ranker.h"
#include "policy/eviction_ranker.h"

namespace leadline::worker {

class RankerAdapter final : public kvstore::ReuseRanker {
 public:
  explicit RankerAdapter(policy::EvictionRanker ranker) : ranker_(std::move(ranker)) {}
  [[nodiscard]] const std::string& provenance() const { return ranker_.provenance(); }
  bool rank(std::span<const kvstore::ReuseFeatures> blocks, std::span<float> seconds) const override;

 private:
  const policy::EvictionRanker ranker_;
};

}  // namespace leadline::worker
