#include "worker/runtime/warm_up_plans.h"

#include <algorithm>

#include "worker/backend/kv_view.h"
#include "worker/backend/step_bucket.h"

namespace leadline::worker {

namespace {

SequenceStep rows_on_page_0(std::int32_t tokens, std::int32_t before) {
  SequenceStep rows;
  rows.tokens.assign(static_cast<std::size_t>(tokens), 0);
  rows.first_position = rows.kv_before = static_cast<std::uint32_t>(before);
  rows.table.assign(static_cast<std::size_t>((before + tokens + kPageTokens - 1) / kPageTokens), PageId{0});
  return rows;
}

StepPlan decode_step(std::int32_t sequences, std::int32_t slots) {
  StepPlan plan;
  plan.sequences.assign(static_cast<std::size_t>(sequences), rows_on_page_0(1, slots - 1));
  return plan;
}

}  // namespace

std::vector<StepPlan> warm_up_plans(const WarmUpLimits& limits) {
  std::vector<StepPlan> plans(1);
  const std::int32_t most = std::min(limits.step_tokens, limits.max_model_len);
  if (!limits.records) {
    plans[0].sequences.push_back(rows_on_page_0(std::min<std::int32_t>(kPageTokens / 2, most), 0));
    return plans;
  }
  plans[0].sequences.push_back(rows_on_page_0(most, 0));
  std::vector<StepPlan> shapes;
  for (std::int32_t batch = 1; batch <= step_bucket(limits.max_sequences); batch = step_bucket(batch + 1)) {
    for (std::int64_t splits = 1;; splits *= 2) {
      const std::int64_t slots = std::min<std::int64_t>(splits * kWarmUpSplitSlots, limits.max_model_len);
      shapes.push_back(decode_step(std::min(batch, limits.max_sequences), static_cast<std::int32_t>(slots)));
      if (slots == limits.max_model_len) break;
    }
  }
  for (int round = 0; round < 2; ++round) plans.insert(plans.end(), shapes.begin(), shapes.end());
  return plans;
}

}  // namespace leadline::worker
