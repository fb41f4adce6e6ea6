#pragma once
// rANS: symbols of up to 8 bits to bytes and back, each under one of up to kRansContexts static distributions
// that the caller picks per symbol (Duda 2013, arXiv 1311.2540, in its range variant; two interleaved 32-bit
// states, 16-bit renormalisation, 12-bit frequencies). Not a model: which context a symbol has is the
// caller's (entropy.h). Pure; any thread.
// The decoder is for outside bytes: every read is bounded, the tables are checked, the final states and the
// end of the words must be exact, else it says malformed.
//
// Bytes: per context that occurs: u8 context, u8 lowest symbol, u8 span - 1, then span frequencies: 1
// byte below 128, else low 7 bits with the top bit set, then the rest; 0 is followed by a u8 count of symbols
// in a row that do not occur. Ended by u8 255; two u32 states; the words.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "kvstore/errc.h"

namespace leadline::kvstore {

inline constexpr std::size_t kRansContexts = 32;
inline constexpr std::uint32_t kRansBits = 12, kRansTotal = 1U << kRansBits;

// How often each symbol occurs in each context.
using RansCounts = std::array<std::array<std::uint32_t, 256>, kRansContexts>;

// Bytes that rans_encode would give, estimated from the counts (within about a percent).
[[nodiscard]] std::size_t rans_estimate(const RansCounts& counts);

// REQUIRES: contexts[i] < kRansContexts; counts are those of symbols and contexts; equal sizes.
std::vector<std::byte> rans_encode(std::span<const std::uint8_t> symbols,
                                   std::span<const std::uint8_t> contexts, const RansCounts& counts);

// One stream being decoded. Symbols come in order; the caller names each one's context.
class RansDecoder {
 public:
  static Result<RansDecoder> open(std::span<const std::byte> bytes);
  // 0..255; after damage any value: ok() tells at the end. A context without a table gives 0 and is damage.
  std::uint8_t next(std::uint8_t context) {
    const Table* table = tables_[context].get();
    if (table == nullptr) {
      damaged_ = true;
      return 0;
    }
    std::uint32_t& state = states_[turn_];
    turn_ ^= 1;
    const std::uint32_t slot = state & (kRansTotal - 1);
    const std::uint8_t symbol = table->symbol[slot];
    state = table->frequency[symbol] * (state >> kRansBits) + slot - table->start[symbol];
    if (state < kLow) {
      if (at_ == end_) {
        damaged_ = true;
        state |= kLow;
      } else {
        std::uint16_t word = 0;
        std::memcpy(&word, at_, 2);
        at_ += 2;
        state = state << 16 | word;
      }
    }
    return symbol;
  }
  // All words were read and both states are where the encoder began.
  [[nodiscard]] bool ok() const {
    return !damaged_ && at_ == end_ && states_[0] == kLow && states_[1] == kLow;
  }

 private:
  static constexpr std::uint32_t kLow = 1U << 16;
  struct Table {
    std::array<std::uint8_t, kRansTotal> symbol;
    std::array<std::uint16_t, 256> frequency{}, start{};
  };
  RansDecoder() = default;
  std::array<std::unique_ptr<Table>, kRansContexts> tables_;
  std::uint32_t states_[2] = {};
  const std::byte *at_ = nullptr, *end_ = nullptr;
  std::uint32_t turn_ = 0;
  bool damaged_ = false;
};

}  // namespace leadline::kvstore
