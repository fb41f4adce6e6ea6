// pyramidkv: SnapKV's choice with more slots in low layers and fewer in high ones.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_pyramidkv;
const CompressionMethod kMethod_pyramidkv = {.name = "pyramidkv",
                                             .source = "PyramidKV, 2406.02069, section 4",
                                             .traits = {.taps = kTapWindow, .reuse = ReuseClass::query_bound},
                                             .score = score_window_pooled,
                                             .budget = pyramid_budget,
                                             .select = select_best,
                                             .merge = nullptr};

}  // namespace leadline::worker
