// windowkv: windows of eight slots, one choice for all heads of a quarter of the layers; the task says how a
// window's score is made.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_windowkv;
const CompressionMethod kMethod_windowkv = {.name = "windowkv",
                                            .source = "WindowKV, 2503.17922, section 3",
                                            .traits = {.taps = kTapWindow | kTapTokens,
                                                       .reuse = ReuseClass::query_bound,
                                                       .heads_shared = true,
                                                       .layers_grouped = true,
                                                       .by_task = true},
                                            .score = score_review_windows,
                                            .budget = grouped_budget,
                                            .select = select_review_windows,
                                            .merge = nullptr};

}  // namespace leadline::worker
