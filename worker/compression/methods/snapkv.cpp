// snapkv: what the last rows of the prompt look at, smoothed over neighbours. Per KV head: the mean over its
// query group.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_snapkv;
const CompressionMethod kMethod_snapkv = {.name = "snapkv",
                                          .source = "SnapKV, 2404.14469, section 4.1",
                                          .traits = {.taps = kTapWindow, .reuse = ReuseClass::query_bound},
                                          .score = score_window_pooled,
                                          .budget = constant_budget,
                                          .select = select_best,
                                          .merge = nullptr};

}  // namespace leadline::worker
