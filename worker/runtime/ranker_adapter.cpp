#include "worker/runtime/ranker_adapter.h"

#include <string_view>
#include <type_traits>

namespace leadline::worker {

static_assert(std::is_same_v<kvstore::ReuseFeatures, policy::EvictionFeatures>);
static_assert([] {
  for (std::size_t i = 0; i < kvstore::kReuseFeatures; ++i)
    if (std::string_view(kvstore::kReuseFeatureNames[i]) != policy::kEvictionFeatureNames[i]) return false;
  return true;
}());

bool RankerAdapter::rank(std::span<const kvstore::ReuseFeatures> blocks, std::span<float> seconds) const {
  for (std::size_t i = 0; i < blocks.size(); ++i) seconds[i] = ranker_.predict(blocks[i]);
  return true;
}

}  // namespace leadline::worker
