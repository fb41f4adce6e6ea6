// knorm: keys of small norm stay, as they draw the most attention on average. Reads no query.

#include "worker/compression/budget.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {
namespace {

void score_small_norm(const HeadInput& head, const CompressionParams& /*params*/, std::span<float> scores) {
  for (std::uint32_t i = 0; i < head.slots; ++i) {
    const float* key = head.keys.data() + std::size_t{i} * head.head_dim;
    scores[i] = -dot(key, key, head.head_dim);
  }
}

}  // namespace

extern const CompressionMethod kMethod_knorm;
const CompressionMethod kMethod_knorm = {.name = "knorm",
                                         .source = "Knorm, 2406.11430, section 3",
                                         .traits = {.taps = kTapKeys, .reuse = ReuseClass::snapshot},
                                         .score = score_small_norm,
                                         .budget = constant_budget,
                                         .select = select_best,
                                         .merge = nullptr};

}  // namespace leadline::worker
