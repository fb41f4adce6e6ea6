#pragma once
// Shadow rows: what every exit would have drafted at the positions that a step verifies, as DEL counts it
// (arXiv 2504.05598). Draft passes and verification keep hidden states where rows pass the exits; one batched
// head then reads all of them. Values and slots only: not the passes (drafter, verifier) and not what a
// policy makes of it (runtime/round_director). Thread: any; pure.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/model/transformer.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

// Kept slots of a step's shadows, behind those of its drafts: of every row one for each exit.
struct ShadowSlots {
  std::vector<std::int32_t> exits;  // candidates, ascending; empty: there are none
  std::int32_t first = 0, rows = 0;
  [[nodiscard]] std::int32_t each() const { return static_cast<std::int32_t>(exits.size()); }
  [[nodiscard]] std::int32_t end() const { return first + rows * each(); }
};
// For steps of `rounds` sequences with `drafts` drafts in all.
ShadowSlots shadow_slots(std::vector<std::int32_t> exits, std::int32_t rounds, std::int32_t drafts);

// Taps of a row that runs layers [from, until) and whose slots begin at `slot`.
void add_exit_taps(std::span<const std::int32_t> exits, LayerRange runs, std::int32_t row, std::int32_t slot,
                   std::vector<ExitTap>& taps);
void sort_taps(std::vector<ExitTap>& taps);

struct ShadowPoint {  // a row at an exit, with its logits there
  SequenceId sequence;
  std::int32_t exit_index = 0;
  std::span<const std::int32_t> inputs;  // the last committed token, then drafts, up to the row's own
};

}  // namespace leadline::worker
