#pragma once
// KvLayout: how pages map to the backend's units, and so how a sequence's page list becomes a KvTable. Not
// ownership. Built: `uniform` (one table for all layers and heads; counts equal everywhere). Declared for
// compression: one table per layer, or per (layer, head), where a page is one layer's, or one head's, unit
// range, and a sequence has several lists.
// Thread: values. The same on every rank but for kv_heads, which is the rank's own.

#include <cstdint>

#include "worker/backend/kv_view.h"
#include "worker/kvcache/page.h"

namespace leadline::worker {

enum class TableLayout : std::uint8_t { uniform = 0, per_layer = 1, per_layer_head = 2 };

struct KvLayout {
  TableLayout kind = TableLayout::uniform;
  std::uint32_t layers = 0;
  std::uint32_t kv_heads = 0;  // on this rank

  [[nodiscard]] constexpr std::uint32_t units_per_page() const {
    switch (kind) {
      case TableLayout::uniform:
        return layers * kv_heads;
      case TableLayout::per_layer:
        return kv_heads;
      case TableLayout::per_layer_head:
        return 1;
    }
    return 0;
  }
  // Page lists that a sequence has under this layout.
  [[nodiscard]] constexpr std::uint32_t lists() const {
    switch (kind) {
      case TableLayout::uniform:
        return 1;
      case TableLayout::per_layer:
        return layers;
      case TableLayout::per_layer_head:
        return layers * kv_heads;
    }
    return 0;
  }
};

// Unit of (page, layer, local KV head) in the uniform layout.
constexpr std::uint32_t uniform_unit(const KvLayout& l, PageId page, std::uint32_t layer,
                                     std::uint32_t head) {
  return page.value * l.layers * l.kv_heads + layer * l.kv_heads + head;
}

// Pages of `slots` slots.
constexpr std::uint32_t pages_for_slots(std::uint32_t slots) {
  return slots / kPageTokens + (slots % kPageTokens != 0);
}

// The device view of a page list in the uniform layout, for layer 0: the transformer adds layer_unit_step =
// kv_heads per layer. `pages` (page indices in slot order) must live as long as the view.
constexpr KvTable uniform_kv_table(const KvLayout& l, const std::uint32_t* pages) {
  return KvTable{.table = pages, .head_stride = 0, .scale = l.layers * l.kv_heads, .base = 0, .head_step = 1};
}

}  // namespace leadline::worker
