#include "worker/runtime/fetch_hindsight.h"

#include <algorithm>

namespace leadline::worker {

void FetchHindsight::passed_over(SequenceId id, std::uint32_t from, std::uint32_t to, double fetch_s) {
  parts_[id] = {from, to, 0, fetch_s, 0};
}

std::optional<double> FetchHindsight::computed(SequenceId id, std::uint32_t first, std::uint32_t rows,
                                               double seconds) {
  const auto it = parts_.find(id);
  if (it == parts_.end() || rows == 0) return std::nullopt;
  Part& part = it->second;
  const std::uint32_t end = first + rows;
  const std::uint32_t from = std::max(first, part.from), to = std::min(end, part.to);
  if (from < to) {
    part.tokens += to - from;
    part.computed_s += seconds * (to - from) / rows;
  }
  if (end < part.to) return std::nullopt;
  const double fetch_s = part.fetch_s * part.tokens / (part.to - part.from);
  const double regret = std::max(0.0, part.computed_s - fetch_s);
  parts_.erase(it);
  return regret;
}

}  // namespace leadline::worker
