#pragma once
// MergeTable: which neighbours become one token, in which order, and the merging itself. Not a vocabulary: it
// sees ids only. Method: byte-pair encoding, lowest rank first, leftmost first (Sennrich et al. 2016); short
// words by scanning, long ones with a heap over a linked list, so a word of n symbols costs O(n log n).
// Thread: immutable after the last add(); a MergeScratch belongs to one call.

#include <cstdint>
#include <vector>

#include "transport/control/ids.h"

namespace leadline::coordinator {

using transport::TokenId;

struct MergeScratch {
  struct Symbol {
    TokenId id;
    std::int32_t previous, next;  // -1: none
    bool alive;
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t position;
    TokenId merged;
  };
  std::vector<std::uint32_t> ranks;
  std::vector<TokenId> merged;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    TokenId merged = -1;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  void reserve(std::size_t merges);
  void add(TokenId left, TokenId right, std::uint32_t rank,
           TokenId merged);  // a later one for the same pair wins
  Merge find(TokenId left, TokenId right) const;

  // Merges `ids` in place until no pair is left. Entries of -1 never merge.
  void apply(std::vector<TokenId>& ids, MergeScratch& scratch) const;

 private:
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  void apply_short(std::vector<TokenId>& ids, MergeScratch& scratch) const;
  void apply_long(std::vector<TokenId>& ids, MergeScratch& scratch) const;
  void push_candidate(std::int32_t position, MergeScratch& scratch) const;
  std::size_t slot_of(std::uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Slot> slots_;
  int shift_ = 63;
};

}  // namespace leadline::coordinator
