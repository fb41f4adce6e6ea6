// full: nothing is dropped; the reference of every table.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_full;
const CompressionMethod kMethod_full = {.name = "full",
                                        .source = "the cache as it is",
                                        .traits = {.reuse = ReuseClass::snapshot},
                                        .score = nullptr,
                                        .budget = nullptr,
                                        .select = nullptr,
                                        .merge = nullptr};

}  // namespace leadline::worker
