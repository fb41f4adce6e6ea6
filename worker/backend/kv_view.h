#pragma once
// How attention sees paged KV: units, tables, and the rows of a step. Not the page pool (worker/kvcache
// decides who owns what); a unit here is just an index into the backend's KV memory. Values that live for one
// step.
//
// A unit holds kPageTokens slots of K and V of one layer and one KV head; its inner layout is the backend's
// own. Invariants: slots of a sequence are filled in order; a row sees slots written by its own step as
// rounded to the pages' dtype (exactness X1), so a token reads the same values fresh and from a page.

#include <cstdint>
#include <span>

namespace leadline::worker {

inline constexpr std::uint32_t kPageTokens = 16;

// Units of one sequence in one layer: unit(head h, page i) = table[h * head_stride + i] * scale + base + h *
// head_step. Uniform layout (one table for all layers and heads): head_stride 0, scale L*H, base layer*H,
// head_step 1. One table per (layer, head): head_stride = its row length, scale 1, base 0, head_step 0.
// A slot s is offset s % kPageTokens of page s / kPageTokens, holes included. `valid` bounds only slots that
// exist before this step; a page that the step goes on filling must have valid = its filled slots.
struct KvTable {
  const std::uint32_t* table = nullptr;
  std::uint32_t head_stride = 0;
  std::uint32_t scale = 1, base = 0, head_step = 0;
  const std::uint8_t* valid = nullptr;  // (same indexing as table) valid slots 1..16 of each page; null: all
                                        // full but the last, whose count follows from the length
  const std::uint32_t* head_lengths =
      nullptr;  // (kv_heads) slots before this step per head; null: kv_before for all
  const float* const* slot_bias =
      nullptr;  // (kv_heads) additive logit bias per slot before the step; null: none
  // (layers) Tables that differ between layers, for the transformer, which hands ops the layer's: their
  // head_lengths count the slots before those that kv_before counts. Null: this one, base moved per layer.
  const KvTable* layers = nullptr;
  [[nodiscard]] std::uint32_t unit(std::uint32_t head, std::uint32_t page) const {
    return table[head * head_stride + page] * scale + base + head * head_step;
  }
};

// Consecutive rows of the step that belong to one sequence.
struct SequenceRows {
  std::int32_t first_row = 0;  // in the step's row order
  std::int32_t rows = 0;
  std::int32_t first_position = 0;  // logical: RoPE angle of the first row
  std::int32_t kv_before = 0;  // physical slots that exist before this step; row i writes slot kv_before + i
  KvTable kv;                  // of the layer at hand; the transformer advances `base` per layer
  bool decode =
      false;  // generated or verified rows, not a prompt's: a device may have another arithmetic for them
};

struct AttentionShape {
  std::int32_t query_heads = 0;  // on this rank
  std::int32_t kv_heads = 0;     // on this rank; divides query_heads
  std::int32_t head_dim = 0;
  float scale = 0;          // of the logits, usually head_dim^-1/2
  std::int32_t window = 0;  // 0 = all; else row at physical slot s sees slots > s - window
};

}  // namespace leadline::worker
