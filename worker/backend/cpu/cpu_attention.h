#pragma once
// How a step's attention is cut into items for threads: tiles of query vectors, and for few rows over long
// contexts single splits whose states are joined afterwards. Pure: values in, a plan out. Not the arithmetic
// (attention_impl.h). Invariant: the cut changes who computes, never what: splits are joined in ascending
// order either way. Thread: any.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/backend/kv_view.h"

namespace leadline::worker::cpu {

// Query vectors: rows [first_row, first_row + rows) of a sequence, query heads [first_head, first_head +
// heads) of kv_head.
struct AttentionTile {
  std::int32_t sequence = 0, kv_head = 0;
  std::int32_t first_row = 0, rows = 0;
  std::int32_t first_head = 0, heads = 0;  // on the rank
  std::int64_t split_begin = 0, split_end = 0;
  std::int64_t partial = -1;  // first of (split_end - split_begin) stored states; -1: joined as they come
};

struct AttentionItem {
  std::int32_t tile = 0;
  std::int64_t split_begin = 0, split_end = 0;
};

struct AttentionPlan {
  std::vector<AttentionTile> tiles;
  std::vector<AttentionItem> items;
  std::vector<std::int64_t> share;  // (threads + 1) first item of each thread
  std::int64_t partial_states = 0;  // stored states, each of kAttentionTile vectors
};

constexpr std::int64_t kMaxPartialStates =
    8192;  // bounds the memory: 8192 * 16 * (16 + 128) floats = 75 MB at head_dim 128

AttentionPlan plan_attention(const AttentionShape& shape, std::span<const SequenceRows> sequences,
                             int threads);

}  // namespace leadline::worker::cpu
