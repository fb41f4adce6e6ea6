#pragma once
// SemantiCache's decision (2603.14303, section 2) for one KV head: chunks that delimiters end, greedy
// clusters around seeds within a chunk. Not the means (merger.h). Thread: pure. Invariants: delimiters and
// pins stay alone; clusters never cross a chunk; chunks hold at most kChunkTokens; with a fixed threshold,
// the groups of a segment depend on that segment's tokens and keys alone.

#include <cstdint>
#include <span>

#include "worker/compression/compression_policy.h"
#include "worker/compression/selector.h"

namespace leadline::worker {

inline constexpr std::uint32_t kChunkTokens = 64;

// Clusters at `threshold`: the first slot without a cluster is a seed; every later one of its chunk whose key
// has a cosine to the seed's key above the threshold joins. The cosine is at most 1, and 0 for a zero key, so
// a threshold of 1 merges nothing.
SlotGroups clusters_at(const HeadInput& head, PinnedRange pins, float threshold);

// The highest threshold that leaves at most `budget` groups. Delimiters stay alone, or join their chunk where
// that lets the threshold be higher: kept alone, they take slots from what is said between them. Below the
// floor of one core per chunk, neighbouring chunks become one, twice as many each time.
SlotGroups clusters_within(const HeadInput& head, PinnedRange pins, std::uint32_t budget);

}  // namespace leadline::worker
