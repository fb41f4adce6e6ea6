#pragma once
// Selectors: scores and a budget -> which slots stay, or are merged. Pins are applied here, so that every
// method has them. Not scores and not keys' arithmetic beyond likeness. Thread: pure. Invariants: total
// order, ties to the newer slot, so that equal scores give one result everywhere; a NaN score is the lowest.

#include <cstdint>
#include <span>

#include "worker/compression/compression_policy.h"

namespace leadline::worker {

struct PinnedRange {
  std::uint32_t first = 0;   // slots [0, first) stay
  std::uint32_t recent = 0;  // and [slots - recent, slots)
};
// The pins within a budget: sinks and recent window at most a quarter of it each; the prefix whole where it
// takes at most half of the budget, else its first tokens up to that half: a quarter is left to choose from.
PinnedRange pinned(const CompressionPins& pins, std::uint32_t slots, std::uint32_t budget);

// The best by score besides the pins.
SlotGroups select_best(const HeadInput& head, const CompressionParams& params, std::span<const float> scores,
                       std::uint32_t budget);
// H2O (section 4): half of the budget by score, half the newest.
SlotGroups select_best_and_recent(const HeadInput& head, const CompressionParams& params,
                                  std::span<const float> scores, std::uint32_t budget);
// StreamingLLM (2309.17453, section 3): the first ones and the newest.
SlotGroups select_ends(const HeadInput& head, const CompressionParams& params, std::span<const float> scores,
                       std::uint32_t budget);
// WindowKV: whole review windows by score, in the order of the text.
SlotGroups select_review_windows(const HeadInput& head, const CompressionParams& params,
                                 std::span<const float> scores, std::uint32_t budget);
// SemantiCache (2603.14303, section 2): clusters within chunks that delimiters end (semantic_clusters.h).
SlotGroups select_clusters(const HeadInput& head, const CompressionParams& params,
                           std::span<const float> scores, std::uint32_t budget);

}  // namespace leadline::worker
