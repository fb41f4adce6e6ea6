#include "worker/compression/query_taps.h"

#include <algorithm>
#include <cmath>

#include "monitoring/check.h"
#include "worker/compression/window_scores.h"

namespace leadline::worker {

bool QueryTaps::expect(std::span<const TapRequest> requests) {
  pass_.assign(requests.size(), nullptr);
  bool any = false;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const TapRequest& request = requests[i];
    if ((request.taps & (kTapWindow | kTapColumns)) == 0) continue;
    Kept& kept = kept_[request.sequence];
    if (kept.request.end != request.end) {  // the first chunk
      kept.request = request;
      if ((request.taps & kTapWindow) != 0)
        kept.queries.resize(std::size_t{shape_.layers} * (request.end - request.window_from) *
                            shape_.query_heads * shape_.head_dim);
      if ((request.taps & kTapColumns) != 0)
        kept.columns.assign(shape_.layers, std::vector<float>(std::size_t{shape_.query_heads} * request.end));
    }
    pass_[i] = &kept;
    any = true;
  }
  return any;
}

void QueryTaps::branch(SequenceId from, const TapRequest& to) {
  const auto found = kept_.find(from);
  LEADLINE_CHECK(found != kept_.end() && found->second.request.end < to.end, "a branch of nothing");
  const Kept& base = found->second;
  Kept kept{.request = to, .scale = base.scale, .queries = {}, .columns = {}};
  if ((to.taps & kTapWindow) != 0) {
    const std::size_t width = std::size_t{shape_.query_heads} * shape_.head_dim;
    const std::uint32_t count = to.end - to.window_from, end = base.request.end;
    kept.queries.resize(shape_.layers * count * width);
    const std::uint32_t shared = std::max(to.window_from, base.request.window_from);
    for (std::size_t layer = 0; shared < end && layer < shape_.layers; ++layer)
      std::copy_n(base.queries.data() +
                      (layer * (end - base.request.window_from) + shared - base.request.window_from) * width,
                  (end - shared) * width,
                  kept.queries.data() + (layer * count + shared - to.window_from) * width);
  }
  if ((to.taps & kTapColumns) != 0) {
    kept.columns.assign(shape_.layers, std::vector<float>(std::size_t{shape_.query_heads} * to.end));
    for (std::size_t layer = 0; layer < shape_.layers; ++layer)
      for (std::size_t head = 0; head < shape_.query_heads; ++head)
        std::copy_n(base.columns[layer].data() + head * base.request.end, base.request.end,
                    kept.columns[layer].data() + head * to.end);
  }
  kept_[to.sequence] = std::move(kept);
}

void QueryTaps::see(std::int32_t layer, ConstFloatMatrix qkv, std::span<const SequenceRows> sequences) {
  for (std::size_t i = 0; i < sequences.size() && i < pass_.size(); ++i) {
    if (pass_[i] == nullptr) continue;
    pass_[i]->scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
    if (!pass_[i]->queries.empty()) keep_window(*pass_[i], layer, qkv, sequences[i]);
    if (!pass_[i]->columns.empty()) add_columns(*pass_[i], layer, qkv, sequences[i]);
  }
}

void QueryTaps::keep_window(Kept& kept, std::int32_t layer, ConstFloatMatrix qkv,
                            const SequenceRows& rows) const {
  const std::size_t width = std::size_t{shape_.query_heads} * shape_.head_dim;
  const std::uint32_t from = kept.request.window_from, count = kept.request.end - from;
  for (std::int32_t r = 0; r < rows.rows; ++r) {
    const auto position = static_cast<std::uint32_t>(rows.first_position + r);
    if (position < from || position >= kept.request.end) continue;
    const std::size_t at = (static_cast<std::size_t>(layer) * count + (position - from)) * width;
    std::copy_n(qkv.row(rows.first_row + r), width, kept.queries.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// Keys are read back from the pages: as attention reads them.
void QueryTaps::add_columns(Kept& kept, std::int32_t layer, ConstFloatMatrix qkv,
                            const SequenceRows& rows) const {
  const std::uint32_t dim = shape_.head_dim, group = shape_.query_heads / shape_.kv_heads;
  const auto slots = static_cast<std::uint32_t>(rows.kv_before + rows.rows);
  LEADLINE_CHECK(slots <= kept.request.end, "rows behind the prompt are tapped");
  std::vector<float> keys(std::size_t{(slots + kPageTokens - 1) / kPageTokens} * kPageTokens * dim);
  for (std::uint32_t h = 0; h < shape_.query_heads; ++h) {
    if (h % group == 0)
      for (std::uint32_t page = 0; page * kPageTokens < slots; ++page)
        pages_.read_keys(rows.kv.unit(h / group, page), kPageTokens,
                         keys.data() + std::size_t{page} * kPageTokens * dim);
    const QueryRows query{.queries = qkv.row(rows.first_row) + std::size_t{h} * dim,
                          .row_stride = qkv.row_stride,
                          .rows = static_cast<std::uint32_t>(rows.rows),
                          .group = 1,
                          .head_dim = dim,
                          .first = static_cast<std::uint32_t>(rows.kv_before),
                          .scale = kept.scale};
    add_probabilities(query, keys,
                      std::span(kept.columns[static_cast<std::size_t>(layer)])
                          .subspan(std::size_t{h} * kept.request.end, kept.request.end));
  }
}

std::vector<float> QueryTaps::window_sums(SequenceId sequence, std::uint32_t layer, std::uint32_t rows,
                                          std::span<const std::vector<float>> keys) const {
  const auto found = kept_.find(sequence);
  LEADLINE_CHECK(found != kept_.end() && !found->second.queries.empty(),
                 "no window of this sequence was seen");
  const Kept& kept = found->second;
  const std::uint32_t dim = shape_.head_dim, end = kept.request.end, from = kept.request.window_from;
  const std::uint32_t group = shape_.query_heads / shape_.kv_heads;
  LEADLINE_CHECK(rows <= end - from, "more rows than the window kept");
  const std::size_t width = std::size_t{shape_.query_heads} * dim;
  const std::size_t first_row = std::size_t{layer} * (end - from) + (end - from - rows);
  std::vector<float> sums(std::size_t{shape_.query_heads} * end);
  for (std::uint32_t h = 0; h < shape_.query_heads; ++h) {
    const QueryRows query{.queries = kept.queries.data() + first_row * width + std::size_t{h} * dim,
                          .row_stride = static_cast<std::int64_t>(width),
                          .rows = rows,
                          .group = 1,
                          .head_dim = dim,
                          .first = end - rows,
                          .scale = kept.scale};
    add_probabilities(query, keys[h / group], std::span(sums).subspan(std::size_t{h} * end, end));
  }
  return sums;
}

std::span<const float> QueryTaps::column_sums(SequenceId sequence, std::uint32_t layer) const {
  const auto found = kept_.find(sequence);
  LEADLINE_CHECK(found != kept_.end() && !found->second.columns.empty(),
                 "no sums of this sequence were made");
  return found->second.columns[layer];
}

}  // namespace leadline::worker
