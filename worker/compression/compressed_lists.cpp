#include "worker/compression/compressed_lists.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::worker {

CompressedHead& CompressedLists::head(SequenceId sequence, std::uint32_t layer, std::uint32_t kv_head) {
  Sequence& s = sequences_[sequence];
  s.heads.resize(std::size_t{layers_} * kv_heads_);
  return s.heads[std::size_t{layer} * kv_heads_ + kv_head];
}

void CompressedLists::fill_row(const CompressedHead& head, std::span<const std::uint32_t> tail,
                               std::uint32_t first_unit, std::uint32_t* units, std::uint8_t* valid) const {
  std::copy(head.units.begin(), head.units.end(), units);
  std::copy(head.valid.begin(), head.valid.end(), valid);
  for (std::size_t i = 0; i < tail.size(); ++i)
    units[head.units.size() + i] = tail[i] * layers_ * kv_heads_ + first_unit;
}

const KvTable* CompressedLists::tables(SequenceId sequence, std::span<const std::uint32_t> tail) {
  const auto found = sequences_.find(sequence);
  LEADLINE_CHECK(found != sequences_.end(), "tables of a sequence that is not compressed");
  Sequence& s = found->second;
  const std::size_t lists = s.heads.size();
  std::size_t longest = 0;
  bool biased = false;
  for (const CompressedHead& head : s.heads) {
    longest = std::max(longest, head.units.size());
    biased = biased || !head.bias.empty();
  }
  const std::size_t row = longest + tail.size();
  s.units.assign(lists * row, 0);
  s.valid.assign(lists * row, kPageTokens);
  s.lengths.resize(lists);
  s.bias.assign(lists, nullptr);
  s.tables.assign(layers_, {});
  for (std::size_t i = 0; i < lists; ++i) {
    CompressedHead& head = s.heads[i];
    fill_row(head, tail, static_cast<std::uint32_t>(i), s.units.data() + i * row, s.valid.data() + i * row);
    s.lengths[i] = static_cast<std::uint32_t>(head.units.size()) * kPageTokens;
    if (!biased) continue;
    const std::size_t slots = (head.units.size() + tail.size()) * kPageTokens;
    if (head.bias.size() < slots) head.bias.resize(slots + 32 * kPageTokens);  // zeros: the tail has none
    s.bias[i] = head.bias.data();
  }
  for (std::uint32_t layer = 0; layer < layers_; ++layer) {
    const std::size_t first = std::size_t{layer} * kv_heads_;
    s.tables[layer] = {.table = s.units.data() + first * row,
                       .head_stride = static_cast<std::uint32_t>(row),
                       .scale = 1,
                       .base = 0,
                       .head_step = 0,
                       .valid = s.valid.data() + first * row,
                       .head_lengths = s.lengths.data() + first,
                       .slot_bias = biased ? s.bias.data() + first : nullptr};
  }
  return s.tables.data();
}

}  // namespace leadline::worker
