// semanticache: slots of one chunk of text whose keys are alike become one core, which attention weighs by
// their number.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_semanticache;
const CompressionMethod kMethod_semanticache = {.name = "semanticache",
                                                .source = "SemantiCache, 2603.14303, section 2",
                                                .traits = {.taps = kTapKeys | kTapTokens,
                                                           .reuse = ReuseClass::append,
                                                           .merges = true,
                                                           .by_threshold = true},
                                                .score = nullptr,
                                                .budget = constant_budget,
                                                .select = select_clusters,
                                                .merge = merge_means};

}  // namespace leadline::worker
