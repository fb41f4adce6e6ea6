#pragma once
// Streams of small symbols to the fewest bytes that we know how to, and back bit for bit: the lossless stage
// for blocks at rest. CacheGen's released form (arXiv 2310.07240; no deltas): distributions follow layer and
// channel. A block here is 16 tokens of one head, too few for a table per channel, so each symbol's table is
// chosen by what the same channel of the same layer held in the two tokens before (known to both sides: no
// side information). Not quantisation (int8, int4 live in block_codec). Pure; any thread.
//
// A section: u8 method, u32 length, then that many bytes. Methods: 0 plain (symbols packed at their width), 1
// rANS under one distribution, 2 rANS under the stream's contexts, 3 zstd. The encoder takes the smallest.
// The decoder is for outside bytes: sizes come from the caller's shape, never from the bytes; anything wrong
// is malformed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvstore/errc.h"

namespace leadline::kvstore {

// What the two tokens before say about a symbol.
enum class Context : std::uint8_t {
  none = 0,
  level = 1,      // small numbers that stay near each other (exponents below the layer's largest)
  magnitude = 2,  // signed codes: their size, by powers of two
  nibble = 3,     // codes of 4 bits: the one before
};

// Symbols lie (layers, slots, channels) row-major.
struct StreamShape {
  std::size_t layers = 0, slots = 0, channels = 0;
  std::uint32_t bits = 8;  // 4 or 8: width of a symbol
  Context context = Context::none;
  [[nodiscard]] std::size_t symbols() const { return layers * slots * channels; }
};

// Reads sections one after the other.
class SectionReader {
 public:
  explicit SectionReader(std::span<const std::byte> bytes) : left_(bytes) {}
  [[nodiscard]] std::size_t left() const { return left_.size(); }
  // Exactly shape.symbols() symbols into `out`.
  Result<void> stream(const StreamShape& shape, std::span<std::uint8_t> out);

 private:
  std::span<const std::byte> left_;
};

// `fast`: plain only (what the table of sizes calls "without entropy").
void put_stream(const StreamShape& shape, std::span<const std::uint8_t> symbols, bool fast,
                std::vector<std::byte>& out);

// Whole byte strings by zstd, for what has no structure that we know. REQUIRES for unpack: out.size() is the
// size before.
std::vector<std::byte> zstd_pack(std::span<const std::byte> bytes, int level);
Result<void> zstd_unpack(std::span<const std::byte> bytes, std::span<std::byte> out);

}  // namespace leadline::kvstore
