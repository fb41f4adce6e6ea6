#pragma once
// BatchField: what a round of one sequence adds to the time of the steps that it shares with others: its
// marginal cost. The others are a mean field: what a replay of the current policy in batches showed of them.
// A share of the step's time would be wrong for deciding: who drafts beside others adds little to passes that
// run anyway, and who drafts alone pays for them whole. Not the rounds (rollout) and not a policy. Thread:
// immutable value. Invariant: summed over sequences, what rounds add and step_us() make up the replay's time.

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "policy/trainer/cost_table.h"
#include "policy/trainer/decode_trace.h"
#include "policy/trainer/replay.h"

namespace leadline::policy {

class BatchField {
 public:
  // Nobody beside it.
  BatchField(const DecodeTrace& trace, const CostTable& costs);
  // Beside `batch` - 1 others as `shown` had them; `context`: of a typical row.
  BatchField(const DecodeTrace& trace, const CostTable& costs, std::int32_t batch, const Company& shown,
             double context);

  [[nodiscard]] std::int32_t batch() const { return batch_; }
  // Of one more row in a step's j-th draft pass (from 1): whatever its layers; through layers [first, last),
  // both exits or 0; at the head after `layer`, with its probe.
  [[nodiscard]] double pass_us(std::int32_t pass) const;
  [[nodiscard]] double layers_us(std::int32_t pass, std::int32_t first, std::int32_t last,
                                 double context) const;
  [[nodiscard]] double head_us(std::int32_t pass, std::int32_t layer) const;
  // Of verifying `rows` from layer `depth` (0: a plain step's row).
  [[nodiscard]] double verify_us(std::int32_t depth, std::int32_t rows, double context) const;
  // A sequence's part of a step that no round added.
  [[nodiscard]] double step_us() const { return step_us_; }

 private:
  struct Pass {  // microseconds of one more row
    double pass = 0;
    std::vector<double> layers, heads;  // by exit: the layers up to it from the exit below; its head
  };
  template <typename Time>
  [[nodiscard]] double added(double share, const Time& time) const;
  [[nodiscard]] Pass pass_of(const PassRows& rows, double steps) const;
  [[nodiscard]] double verified_us(std::int32_t depth, double rows, double context) const;
  [[nodiscard]] double mean_added(const Company& shown) const;
  [[nodiscard]] const Pass& pass(std::int32_t number) const;

  const DecodeTrace& trace_;
  const CostTable& costs_;
  const std::int32_t batch_ = 1;
  double context_ = 0;
  std::vector<Pass> passes_;         // [j - 1]; the last one for all later passes
  std::vector<double> others_rows_;  // verified, by exit: at the layers up to it; at last, above the last
  double others_heads_ = 0;          // rows verified by others
  double step_us_ = 0;
};

}  // namespace leadline::policy
