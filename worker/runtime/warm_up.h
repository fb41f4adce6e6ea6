#pragma once
// Runs the steps of warm_up_plans before a worker is ready, tokens chosen on the device included. Not which
// steps (warm_up_plans). Thread: the step thread. Every rank runs the same. Invariant: nobody's pages are
// touched: page 0 is free while this runs.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "worker/runtime/step_executor.h"
#include "worker/runtime/warm_up_plans.h"

namespace leadline::worker {

struct WarmUpRun {
  bool leads = true;  // rank 0 of its group
  std::int32_t vocab = 0;
  std::int32_t logit_rows = 1;                                      // the most of one step
  std::function<void(std::size_t done, std::size_t all)> progress;  // null: nobody asks
};

// rank_lost from a collective.
Result<void> warm_up(StepExecutor& executor, const WarmUpLimits& limits, const WarmUpRun& run);

}  // namespace leadline::worker
