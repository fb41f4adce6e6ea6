// keydiff: keys that differ most from the mean direction stay. Reads no query. Decided once; the paper's
// blockwise form bounds memory too.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_keydiff;
const CompressionMethod kMethod_keydiff = {.name = "keydiff",
                                           .source = "KeyDiff, 2504.15364, equation 5",
                                           .traits = {.taps = kTapKeys, .reuse = ReuseClass::snapshot},
                                           .score = score_key_difference,
                                           .budget = constant_budget,
                                           .select = select_best,
                                           .merge = nullptr};

}  // namespace leadline::worker
