// streaming: StreamingLLM's sinks and newest slots. Keys keep the rotation of their own positions: the paper
// renumbers them, which this server does not need, as it serves no position beyond the model's.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_streaming;
const CompressionMethod kMethod_streaming = {.name = "streaming",
                                             .source = "StreamingLLM, 2309.17453, section 3",
                                             .traits = {.reuse = ReuseClass::snapshot},
                                             .score = nullptr,
                                             .budget = constant_budget,
                                             .select = select_ends,
                                             .merge = nullptr};

}  // namespace leadline::worker
