#include "worker/speculative/shadow_rows.h"

#include <algorithm>
#include <utility>

#include "worker/speculative/drafter.h"

namespace leadline::worker {

ShadowSlots shadow_slots(std::vector<std::int32_t> exits, std::int32_t rounds, std::int32_t drafts) {
  const std::int32_t first = kept_rows_for(rounds, drafts, static_cast<std::int32_t>(exits.size()));
  return {std::move(exits), first, rounds + drafts};
}

void add_exit_taps(std::span<const std::int32_t> exits, LayerRange runs, std::int32_t row, std::int32_t slot,
                   std::vector<ExitTap>& taps) {
  for (std::size_t e = 0; e < exits.size(); ++e)
    if (exits[e] > runs.first && exits[e] <= runs.last)
      taps.push_back({exits[e], row, slot + static_cast<std::int32_t>(e)});
}

void sort_taps(std::vector<ExitTap>& taps) {
  std::ranges::stable_sort(taps, {}, &ExitTap::layer);
}

}  // namespace leadline::worker
