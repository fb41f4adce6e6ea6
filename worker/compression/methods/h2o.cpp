// h2o: half of the budget for the slots that the prompt's queries looked at most, half for the newest.
// Decided once, at the prompt's end: the paper goes on deciding at every generated token.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_h2o;
const CompressionMethod kMethod_h2o = {.name = "h2o",
                                       .source = "H2O, 2306.14048, sections 3 and 4",
                                       .traits = {.taps = kTapColumns, .reuse = ReuseClass::query_bound},
                                       .score = score_columns,
                                       .budget = constant_budget,
                                       .select = select_best_and_recent,
                                       .merge = nullptr};

}  // namespace leadline::worker
