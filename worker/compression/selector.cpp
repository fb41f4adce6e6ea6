#include "worker/compression/selector.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/compression/scorer.h"

namespace leadline::worker {
namespace {

SlotGroups from_flags(const std::vector<bool>& stays) {
  SlotGroups groups;
  for (std::uint32_t i = 0; i < stays.size(); ++i)
    if (stays[i]) groups.add_one(i);
  return groups;
}

// Marks the `count` best of slots [from, to).
void mark_best(std::span<const float> scores, std::uint32_t from, std::uint32_t to, std::uint32_t count,
               std::vector<bool>& stays) {
  std::vector<std::uint32_t> order(to > from ? to - from : 0);
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = from + i;
  const auto value = [&](std::uint32_t i) { return std::isnan(scores[i]) ? -INFINITY : scores[i]; };
  const auto better = [&](std::uint32_t a, std::uint32_t b) {
    return value(a) != value(b) ? value(a) > value(b) : a > b;
  };
  count = std::min<std::uint32_t>(count, static_cast<std::uint32_t>(order.size()));
  std::nth_element(order.begin(), order.begin() + count, order.end(), better);
  for (std::uint32_t i = 0; i < count; ++i) stays[order[i]] = true;
}

void mark_ends(PinnedRange pins, std::vector<bool>& stays) {
  std::fill_n(stays.begin(), pins.first, true);
  std::fill_n(stays.rbegin(), pins.recent, true);
}

}  // namespace

PinnedRange pinned(const CompressionPins& pins, std::uint32_t slots, std::uint32_t budget) {
  PinnedRange range;
  range.first = std::min(pins.first, budget / 4);
  range.first = std::max(range.first, std::min(pins.prefix, budget / 2));
  range.recent = std::min({pins.recent, budget / 4, budget - range.first});
  if (range.first + range.recent > slots) {
    range.first = std::min(range.first, slots);
    range.recent = slots - range.first;
  }
  return range;
}

SlotGroups select_best(const HeadInput& head, const CompressionParams& params, std::span<const float> scores,
                       std::uint32_t budget) {
  const PinnedRange pins = pinned(params.pins, head.slots, budget);
  std::vector<bool> stays(head.slots);
  mark_ends(pins, stays);
  mark_best(scores, pins.first, head.slots - pins.recent, budget - pins.first - pins.recent, stays);
  return from_flags(stays);
}

SlotGroups select_best_and_recent(const HeadInput& head, const CompressionParams& params,
                                  std::span<const float> scores, std::uint32_t budget) {
  PinnedRange pins = pinned(params.pins, head.slots, budget);
  pins.recent = std::min(std::max(pins.recent, budget / 2), budget - pins.first);
  std::vector<bool> stays(head.slots);
  mark_ends(pins, stays);
  mark_best(scores, pins.first, head.slots - pins.recent, budget - pins.first - pins.recent, stays);
  return from_flags(stays);
}

SlotGroups select_ends(const HeadInput& head, const CompressionParams& params,
                       std::span<const float> /*scores*/, std::uint32_t budget) {
  PinnedRange pins = pinned(params.pins, head.slots, budget);
  pins.recent = std::min(budget, head.slots) - pins.first;
  std::vector<bool> stays(head.slots);
  mark_ends(pins, stays);
  return from_flags(stays);
}

SlotGroups select_review_windows(const HeadInput& head, const CompressionParams& params,
                                 std::span<const float> scores, std::uint32_t budget) {
  const PinnedRange pins = pinned(params.pins, head.slots, budget);
  std::vector<bool> stays(head.slots);
  mark_ends(pins, stays);
  // Windows of the text before the recent ones; a window that holds a pinned slot is not another choice.
  struct Window {
    std::uint32_t first, last;
    float score;
  };
  std::vector<Window> windows;
  const std::uint32_t end = head.slots - pins.recent;
  for (std::uint32_t first = 0; first < end; first += kReviewWindow) {
    const std::uint32_t last = std::min(first + kReviewWindow, end);
    if (last > pins.first) windows.push_back({std::max(first, pins.first), last, scores[first]});
  }
  std::sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) {
    const float x = std::isnan(a.score) ? -INFINITY : a.score, y = std::isnan(b.score) ? -INFINITY : b.score;
    return x != y ? x > y : a.first > b.first;
  });
  std::uint32_t room = budget - pins.first - pins.recent;
  for (const Window& w : windows) {
    if (w.last - w.first > room) continue;  // a shorter one at an edge may still fit
    room -= w.last - w.first;
    std::fill(stays.begin() + w.first, stays.begin() + w.last, true);
  }
  for (std::uint32_t i = end; i > 0 && room > 0; --i) {  // what no window fills goes to the newest slots
    if (stays[i - 1]) continue;
    stays[i - 1] = true;
    --room;
  }
  return from_flags(stays);
}

}  // namespace leadline::worker
