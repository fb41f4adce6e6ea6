#include "worker/backend/cpu/cpu_attention.h"

#include <algorithm>

#include "worker/backend/cpu/cpu_kernels.h"

namespace leadline::worker::cpu {

namespace {

constexpr std::int32_t kFewRows =
    16;  // decode and verification: here a sequence alone may have too few tiles for the threads

std::int64_t slots_before(const SequenceRows& s, std::int32_t head) {
  return s.kv.head_lengths ? std::int64_t{s.kv.head_lengths[head]} : std::int64_t{s.kv_before};
}

// Splits that any row of the tile sees.
void set_splits(const AttentionShape& shape, const SequenceRows& s, AttentionTile& tile) {
  const std::int64_t first = slots_before(s, tile.kv_head) + tile.first_row;
  const std::int64_t from = shape.window > 0 ? std::max<std::int64_t>(0, first - shape.window + 1) : 0;
  tile.split_begin = from / kSplitSlots;
  tile.split_end = (first + tile.rows - 1) / kSplitSlots + 1;
}

void add_tile(AttentionPlan& plan, AttentionTile tile, bool store_splits) {
  const auto index = static_cast<std::int32_t>(plan.tiles.size());
  const std::int64_t splits = tile.split_end - tile.split_begin;
  if (store_splits && splits > 1 && plan.partial_states + splits <= kMaxPartialStates) {
    tile.partial = plan.partial_states;
    plan.partial_states += splits;
    for (std::int64_t s = tile.split_begin; s < tile.split_end; ++s) plan.items.push_back({index, s, s + 1});
  } else {
    plan.items.push_back({index, tile.split_begin, tile.split_end});
  }
  plan.tiles.push_back(tile);
}

std::int64_t cost_of(const AttentionPlan& plan, const AttentionItem& item) {
  const AttentionTile& tile = plan.tiles[static_cast<std::size_t>(item.tile)];
  return 1 + (item.split_end - item.split_begin) * (4 + tile.rows * tile.heads);
}

// Contiguous shares of nearly equal cost: splits times query vectors, plus one for the item itself. Returns
// whether the largest is at most a tenth above the mean.
bool share_items(AttentionPlan& plan, int threads) {
  std::int64_t total = 0;
  for (const AttentionItem& item : plan.items) total += cost_of(plan, item);
  plan.share.assign(static_cast<std::size_t>(threads) + 1, static_cast<std::int64_t>(plan.items.size()));
  plan.share[0] = 0;
  std::int64_t sum = 0, largest = 0, before = 0;
  int thread = 1;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    sum += cost_of(plan, plan.items[i]);
    if (thread < threads && sum * threads >= total * thread) {
      largest = std::max(largest, sum - before);
      before = sum;
    }
    while (thread < threads && sum * threads >= total * thread)
      plan.share[static_cast<std::size_t>(thread++)] = static_cast<std::int64_t>(i) + 1;
  }
  largest = std::max(largest, sum - before);
  return largest * threads * 10 <= total * 11;
}

void add_tiles(AttentionPlan& plan, const AttentionShape& shape, std::span<const SequenceRows> sequences,
               bool store_splits) {
  const std::int32_t group = shape.query_heads / shape.kv_heads;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const SequenceRows& s = sequences[i];
    for (std::int32_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      for (std::int32_t h = 0; h < group; h += kAttentionTile) {
        const std::int32_t heads = std::min(group - h, kAttentionTile), rows = kAttentionTile / heads;
        for (std::int32_t r = 0; r < s.rows; r += rows) {
          AttentionTile tile;
          tile.sequence = static_cast<std::int32_t>(i);
          tile.kv_head = kv_head;
          tile.first_row = r;
          tile.rows = std::min(rows, s.rows - r);
          tile.first_head = kv_head * group + h;
          tile.heads = heads;
          set_splits(shape, s, tile);
          add_tile(plan, tile, store_splits && s.rows <= kFewRows);
        }
      }
    }
  }
}

}  // namespace

// Whole tiles where they fill the threads evenly: stored states cost their joining.
AttentionPlan plan_attention(const AttentionShape& shape, std::span<const SequenceRows> sequences,
                             int threads) {
  for (const bool store_splits : {false, true}) {
    AttentionPlan plan;
    add_tiles(plan, shape, sequences, store_splits);
    if (share_items(plan, threads) || store_splits) return plan;
  }
  return {};  // not reached
}

}  // namespace leadline::worker::cpu
