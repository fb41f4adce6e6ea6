#include "worker/backend/cuda/step_tables.h"

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"
#include "worker/backend/cuda/kernel_select.h"
#include "worker/backend/step_bucket.h"

namespace leadline::worker::cuda {

namespace {

std::uint32_t append(std::vector<std::uint32_t>& words, const void* data, std::size_t bytes) {
  const auto at = static_cast<std::uint32_t>(words.size());
  words.resize(words.size() + (bytes + 3) / 4);
  if (bytes > 0) std::memcpy(words.data() + at, data, bytes);
  return at;
}

}  // namespace

// Appends what the sequence's table points to. A table's extent: rows of head_stride for every head, or one
// row.
SequenceWords StepTables::place(const SequenceRows& s, std::int32_t kv_heads, StepLayout& layout) {
  const auto heads = static_cast<std::size_t>(kv_heads);
  std::int64_t longest = s.kv_before;
  for (std::size_t h = 0; s.kv.head_lengths != nullptr && h < heads; ++h)
    longest = std::max(h == 0 ? 0 : longest, std::int64_t{s.kv.head_lengths[h]});
  longest += s.rows;
  layout.longest_slots = std::max(layout.longest_slots, longest);
  const auto pages = static_cast<std::size_t>((longest + kPageSlots - 1) / kPageSlots);
  const std::size_t entries = s.kv.head_stride == 0 ? pages : (heads - 1) * s.kv.head_stride + pages;
  SequenceWords w{};
  w.first_row = s.first_row;
  w.rows = s.rows;
  w.first_position = s.first_position;
  w.kv_before = s.kv_before;
  w.table = append(words_, s.kv.table, entries * 4);
  w.head_stride = s.kv.head_stride;
  w.scale = s.kv.scale;
  w.base = s.kv.base;
  w.head_step = s.kv.head_step;
  w.valid = s.kv.valid != nullptr ? append(words_, s.kv.valid, entries) : kNone;
  w.lengths = s.kv.head_lengths != nullptr ? append(words_, s.kv.head_lengths, heads * 4) : kNone;
  w.bias = s.kv.slot_bias != nullptr ? append(words_, s.kv.slot_bias, heads * sizeof(float*)) : kNone;
  layout.plain = layout.plain && w.valid == kNone && w.lengths == kNone && w.bias == kNone;
  layout.decode = layout.decode && s.decode;
  return w;
}

StepLayout StepTables::build(const StepRows& step, const TileShape& shape) {
  StepLayout layout;
  const bool decode = std::all_of(step.sequences.begin(), step.sequences.end(),
                                  [](const SequenceRows& s) { return s.decode; });
  const auto padded = [&](std::size_t count) {
    return decode && count > 0 ? step_bucket(static_cast<std::int32_t>(count))
                               : static_cast<std::int32_t>(count);
  };
  layout.sequences = padded(step.sequences.size());
  words_.assign(static_cast<std::size_t>(layout.sequences) * kSequenceWords, 0);
  for (const SequenceRows& s : step.sequences) layout.rows = std::max(layout.rows, s.first_row + s.rows);
  layout.rows = std::max(layout.rows, static_cast<std::int32_t>(step.tokens.size()));
  std::vector<std::uint32_t> owners(static_cast<std::size_t>(layout.rows), kNone);
  for (std::size_t i = 0; i < step.sequences.size(); ++i) {
    const SequenceRows& s = step.sequences[i];
    std::fill_n(owners.begin() + s.first_row, s.rows, static_cast<std::uint32_t>(i));
  }
  layout.rows_at = append(words_, owners.data(), owners.size() * 4);
  layout.tokens_at = append(words_, step.tokens.data(), step.tokens.size_bytes());
  layout.tokens = static_cast<std::int32_t>(step.tokens.size());
  layout.logit_rows_at = append(words_, step.logit_rows.data(), step.logit_rows.size_bytes());
  layout.logit_rows = static_cast<std::int32_t>(step.logit_rows.size());
  layout.kept_in_at = append(words_, step.kept_in.data(), step.kept_in.size_bytes());
  layout.kept_out_at = append(words_, step.kept_out.data(), step.kept_out.size_bytes());
  layout.walked_rows_at = layout.rows_at;
  if (shape.group > 0) {
    std::vector<TileWords> tiles = attention_tiles(step.sequences, shape.group, kMaxTileVectors,
                                                   shape.wide ? TileRows::decodes : TileRows::all);
    tiles.resize(static_cast<std::size_t>(padded(tiles.size())), TileWords{0, 0, 0, 0, 1});
    layout.tiles_at = append(words_, tiles.data(), tiles.size() * sizeof(TileWords));
    layout.tiles = static_cast<std::int32_t>(tiles.size());
    layout.widest_tile = widest_tile(tiles);
  }
  if (shape.group > 0 && shape.wide && !decode) {
    const std::vector<TileWords> tiles =
        attention_tiles(step.sequences, shape.group, kPrefillVectors, TileRows::prompts);
    layout.wide_at = append(words_, tiles.data(), tiles.size() * sizeof(TileWords));
    layout.wide_tiles = static_cast<std::int32_t>(tiles.size());
    for (const SequenceRows& s : step.sequences)
      if (!s.decode) std::fill_n(owners.begin() + s.first_row, s.rows, kNone);
    layout.walked_rows_at = append(words_, owners.data(), owners.size() * 4);
  }
  if (!step.sequences.empty()) layout.first_base = step.sequences[0].kv.base;
  for (std::size_t i = 0; i < step.sequences.size(); ++i) {
    if (words_.size() % 2 != 0) words_.push_back(0);  // addresses stay aligned
    const SequenceWords placed = place(step.sequences[i], std::max(shape.kv_heads, 1), layout);
    std::memcpy(words_.data() + i * kSequenceWords, &placed, sizeof placed);
  }
  return layout;
}

bool only_bases_moved(std::span<const SequenceRows> now, const StepLayout& layout,
                      std::span<const std::uint32_t> words) {
  if (now.empty() || !layout.plain) return false;
  const std::uint32_t shift = now[0].kv.base - layout.first_base;
  for (std::size_t i = 0; i < now.size(); ++i) {
    const SequenceRows& s = now[i];
    SequenceWords w;
    std::memcpy(&w, words.data() + i * kSequenceWords, sizeof w);
    if (s.kv.base - w.base != shift || s.first_row != w.first_row || s.rows != w.rows ||
        s.first_position != w.first_position || s.kv_before != w.kv_before || s.kv.scale != w.scale ||
        s.kv.head_step != w.head_step || s.kv.head_stride != w.head_stride || s.kv.valid != nullptr ||
        s.kv.head_lengths != nullptr || s.kv.slot_bias != nullptr)
      return false;
  }
  return true;
}

std::uint32_t base_shift(std::span<const SequenceRows> now, const StepLayout& layout,
                         std::span<const std::uint32_t> words) {
  if (now.empty()) return 0;
  const std::uint32_t shift = now[0].kv.base - layout.first_base;
  for (std::size_t i = 0; i < now.size(); ++i) {
    SequenceWords w;
    std::memcpy(&w, words.data() + i * kSequenceWords, sizeof w);
    LEADLINE_CHECK(now[i].kv.base - w.base == shift, "the bases of a begun step move by one amount");
  }
  return shift;
}

}  // namespace leadline::worker::cuda
