#include "coordinator/text/merge_table.h"

#include <algorithm>
#include <bit>

namespace leadline::coordinator {
namespace {

constexpr std::size_t kShortWord = 32;  // symbols; below, scanning beats the heap

std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

bool later(const MergeScratch::Candidate& a, const MergeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

void MergeTable::reserve(std::size_t merges) {
  const std::size_t slots = std::bit_ceil(merges * 2 + 2);
  slots_.assign(slots, Slot{});
  shift_ = 64 - std::countr_zero(slots);
}

void MergeTable::add(TokenId left, TokenId right, std::uint32_t rank, TokenId merged) {
  const std::uint64_t key = pair_key(left, right);
  std::size_t at = slot_of(key);
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = Slot{key, {rank, merged}};
}

MergeTable::Merge MergeTable::find(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) return {};
  const std::uint64_t key = pair_key(left, right);
  std::size_t at = slot_of(key);
  while (slots_[at].key != kEmpty) {
    if (slots_[at].key == key) return slots_[at].merge;
    at = (at + 1) & (slots_.size() - 1);
  }
  return {};
}

void MergeTable::apply(std::vector<TokenId>& ids, MergeScratch& scratch) const {
  if (ids.size() < 2 || slots_.empty()) return;
  if (ids.size() <= kShortWord) {
    apply_short(ids, scratch);
  } else {
    apply_long(ids, scratch);
  }
}

void MergeTable::apply_short(std::vector<TokenId>& ids, MergeScratch& s) const {
  std::size_t n = ids.size();
  s.ranks.resize(n);
  s.merged.resize(n);
  const auto look = [&](std::size_t i) {
    const Merge m = find(ids[i], ids[i + 1]);
    s.ranks[i] = m.rank;
    s.merged[i] = m.merged;
  };
  for (std::size_t i = 0; i + 1 < n; ++i) look(i);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (s.ranks[i] < s.ranks[best]) best = i;
    }
    if (s.ranks[best] == kNone) break;
    ids[best] = s.merged[best];
    for (std::size_t i = best + 1; i + 1 < n; ++i) {
      ids[i] = ids[i + 1];
      s.ranks[i] = s.ranks[i + 1];
      s.merged[i] = s.merged[i + 1];
    }
    --n;
    if (best + 1 < n) look(best);
    if (best > 0) look(best - 1);
  }
  ids.resize(n);
}

void MergeTable::push_candidate(std::int32_t position, MergeScratch& s) const {
  const MergeScratch::Symbol& left = s.symbols[position];
  if (left.next < 0) return;
  const Merge m = find(left.id, s.symbols[left.next].id);
  if (m.rank == kNone) return;
  s.heap.push_back({m.rank, position, m.merged});
  std::push_heap(s.heap.begin(), s.heap.end(), later);
}

void MergeTable::apply_long(std::vector<TokenId>& ids, MergeScratch& s) const {
  const auto n = static_cast<std::int32_t>(ids.size());
  s.symbols.clear();
  s.heap.clear();
  for (std::int32_t i = 0; i < n; ++i) s.symbols.push_back({ids[i], i - 1, i + 1 < n ? i + 1 : -1, true});
  for (std::int32_t i = 0; i + 1 < n; ++i) {
    const Merge m = find(ids[i], ids[i + 1]);
    if (m.rank != kNone) s.heap.push_back({m.rank, i, m.merged});
  }
  std::make_heap(s.heap.begin(), s.heap.end(), later);
  while (!s.heap.empty()) {
    const MergeScratch::Candidate top = s.heap.front();
    std::pop_heap(s.heap.begin(), s.heap.end(), later);
    s.heap.pop_back();
    MergeScratch::Symbol& left = s.symbols[top.position];
    if (!left.alive || left.next < 0) continue;
    MergeScratch::Symbol& right = s.symbols[left.next];
    if (find(left.id, right.id).merged != top.merged) continue;  // a neighbour has changed since
    left.id = top.merged;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) s.symbols[left.next].previous = top.position;
    push_candidate(top.position, s);
    if (left.previous >= 0) push_candidate(left.previous, s);
  }
  ids.clear();
  for (std::int32_t i = 0; i >= 0; i = s.symbols[i].next) ids.push_back(s.symbols[i].id);
}

}  // namespace leadline::coordinator
