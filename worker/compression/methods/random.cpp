// random: pins, and slots drawn by lot (seeded by the prompt); a method below it is a mistake.

#include "worker/compression/budget.h"
#include "worker/compression/merger.h"
#include "worker/compression/scorer.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

extern const CompressionMethod kMethod_random;
const CompressionMethod kMethod_random = {.name = "random",
                                          .source = "the floor of every table",
                                          .traits = {.taps = kTapTokens, .reuse = ReuseClass::snapshot},
                                          .score = score_random,
                                          .budget = constant_budget,
                                          .select = select_best,
                                          .merge = nullptr};

}  // namespace leadline::worker
