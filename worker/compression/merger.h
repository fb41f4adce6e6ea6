#pragma once
// Mergers: what becomes of the slots of a group. Not a choice of groups (selector.h). Thread: pure, f32.
// Invariant: a group of one is that slot, bit for bit, with bias 0.

#include "worker/compression/slot_groups.h"

namespace leadline::worker {

// Core key and value = means of the members', bias = log of their number (SemantiCache 2603.14303,
// sections 2.3 and 2.4; the same form as ToMe's proportional attention). Exact where all keys of a group are
// equal.
void merge_means(const SlotGroups& groups, const HeadSlots& slots, const MergedSlots& out);

}  // namespace leadline::worker
