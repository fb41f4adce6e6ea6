#include "worker/runtime/warm_up_plans.h"

#include <algorithm>

#include "worker/backend/kv_view.h"
#include "worker/backend/step_bucket.h"

namespace leadline::worker {

namespace {

SequenceStep rows_on_page_0(std::int32_t tokens, std::int32_t before, std::int32_t more = 0) {
  SequenceStep rows;
  rows.tokens.assign(static_cast<std::size_t>(tokens), 0);
  rows.first_position = rows.kv_before = static_cast<std::uint32_t>(before);
  rows.table.assign(static_cast<std::size_t>((before + tokens + more + kPageTokens - 1) / kPageTokens),
                    PageId{0});
  return rows;
}

// One row each, or rounds of `drafts` drafts, which end at slot `slots`.
StepPlan decode_step(std::int32_t sequences, std::int32_t slots, std::int32_t exit = 0,
                     std::int32_t drafts = 0) {
  SequenceStep rows = rows_on_page_0(1, slots - 1 - drafts, drafts);
  if (drafts > 0) rows.round = {static_cast<std::uint16_t>(exit), static_cast<std::uint16_t>(drafts), false};
  StepPlan plan;
  plan.sequences.assign(static_cast<std::size_t>(sequences), rows);
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) plan.sequences[i].sequence = SequenceId{i};
  return plan;
}

// 256, 512, 1024, ... slots, the last of them max_model_len.
std::vector<std::int32_t> lengths(const WarmUpLimits& limits) {
  std::vector<std::int32_t> all;
  for (std::int64_t slots = kWarmUpSplitSlots; slots < limits.max_model_len; slots *= 2)
    all.push_back(static_cast<std::int32_t>(slots));
  all.push_back(limits.max_model_len);
  return all;
}

void add_rounds(const WarmUpLimits& limits, std::vector<StepPlan>& shapes) {
  std::size_t rounds = 0;
  for (const std::int32_t drafts : {3, 1, 7})
    for (std::int32_t batch = 1; batch <= std::min(8, limits.max_sequences); batch *= 2)
      for (const std::int32_t slots : lengths(limits))
        for (const std::int32_t exit : limits.exits) {
          if (rounds == kMaxWarmUpRounds) return;
          if (batch * drafts > limits.max_draft_rows || slots <= drafts) continue;
          if (batch * (drafts + 1) > limits.step_tokens) continue;
          shapes.push_back(decode_step(batch, slots, exit, drafts));
          ++rounds;
        }
}

}  // namespace

std::vector<StepPlan> warm_up_plans(const WarmUpLimits& limits) {
  std::vector<StepPlan> plans(1);
  const std::int32_t most = std::min(limits.step_tokens, limits.max_model_len);
  if (!limits.device) {
    plans[0].sequences.push_back(rows_on_page_0(std::min<std::int32_t>(kPageTokens / 2, most), 0));
    return plans;
  }
  plans[0].sequences.push_back(rows_on_page_0(most, 0));
  if (!limits.records) return plans;
  std::vector<StepPlan> shapes;
  for (std::int32_t batch = 1; batch <= step_bucket(limits.max_sequences); batch = step_bucket(batch + 1))
    for (const std::int32_t slots : lengths(limits))
      shapes.push_back(decode_step(std::min(batch, limits.max_sequences), slots));
  add_rounds(limits, shapes);
  for (int round = 0; round < 2; ++round) plans.insert(plans.end(), shapes.begin(), shapes.end());
  return plans;
}

}  // namespace leadline::worker
