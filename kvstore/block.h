#pragma once
// Block: the KV of one page of tokens of one KV head, over all layers, off the device: header and payload in
// one run of bytes, sealed by a checksum, immutable from then on. Not pages (worker/kvcache) and not where
// blocks are kept (tier.h). The format is docs/formats/kv_block.md; golden bytes in tests/golden/kv_block.
// Thread: values; a sealed block is read from any thread.
// Invariants:
//   1. A BlockPtr's bytes never change; header() is what its bytes say.
//   2. parse() accepts exactly what seal() can produce: one byte changed anywhere is an error, never a block.
//   3. Blocks are kept per KV head, so that workers of different tensor-parallel degrees share them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kvstore/block_key.h"
#include "kvstore/errc.h"

namespace leadline::kvstore {

inline constexpr std::uint16_t kBlockVersion = 1;
inline constexpr std::size_t kMaxBlockBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxBlockText = 1024;  // of fingerprint, compression and layout, each

// What a tier finds a block by: the chain's key and the KV head within the model (not within a rank).
struct BlockId {
  BlockKey key;
  std::uint16_t head = 0;
  friend auto operator<=>(const BlockId&, const BlockId&) = default;
};

struct BlockHeader {
  BlockId id;
  BlockKey parent;                   // the chain's root key for the first block
  std::uint32_t depth = 0;           // blocks before it in its chain
  std::uint32_t first_position = 0;  // logical, of its first token
  std::uint32_t tokens = 0;          // that it covers
  std::uint32_t slots = 0;  // that it holds: less than tokens where compression merged or dropped some
  std::uint16_t layers = 0;
  std::uint16_t head_dim = 0;
  std::uint8_t dtype = 0;            // of the raw payload: transport::DType's number
  std::uint8_t codec = 0;            // of the bytes at rest; 0 = none
  std::uint64_t raw_bytes = 0;       // of the payload before the codec
  std::uint64_t expires_unix_s = 0;  // 0 = never
  std::string fingerprint;           // of the model (exactness X7)
  std::string compression;           // id and parameters; "" = none
  std::string layout;                // how a unit's bytes lie, the backend's own name for it
  friend bool operator==(const BlockHeader&, const BlockHeader&) = default;
};

class Block;
// Shared: tiers, staged loads and writes in flight hold one block at once, on different threads.
using BlockPtr = std::shared_ptr<const Block>;

// A block being filled. seal() ends it.
class BlockDraft {
 public:
  // REQUIRES: texts within kMaxBlockText, the whole within kMaxBlockBytes.
  BlockDraft(BlockHeader header, std::size_t payload_bytes);
  [[nodiscard]] std::span<std::byte> payload();
  [[nodiscard]] const BlockHeader& header() const { return header_; }
  [[nodiscard]] std::size_t bytes() const { return size_; }
  [[nodiscard]] BlockPtr seal() &&;  // writes length and checksum

 private:
  BlockHeader header_;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0, payload_at_ = 0;
};

class Block {
 public:
  // Whole bytes of one block, checked completely; `bytes` becomes the block's. malformed: the message names
  // the field.
  static Result<BlockPtr> parse(std::unique_ptr<std::byte[]> bytes, std::size_t size);
  static Result<BlockPtr> parse(std::span<const std::byte> bytes);  // copies

  [[nodiscard]] const BlockHeader& header() const { return header_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> payload() const { return bytes().subspan(payload_at_); }

 private:
  friend class BlockDraft;
  Block() = default;
  BlockHeader header_;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0, payload_at_ = 0;
};

// The header alone, from the first bytes of a block (a startup scan): everything checked but the checksum.
// `total_bytes`: of the whole block as the caller knows it (the file's size).
Result<BlockHeader> parse_block_header(std::span<const std::byte> first_bytes, std::uint64_t total_bytes);
inline constexpr std::size_t kMaxBlockHeaderBytes = 4096;

// "" or the field in which a block is another one than the caller can use: another id, model, shape, layout,
// codec or compression. Expired is not a matter of this.
[[nodiscard]] std::string_view foreign_field(const BlockHeader& got, const BlockHeader& expected);

}  // namespace leadline::kvstore

template <>
struct std::hash<leadline::kvstore::BlockId> {
  std::size_t operator()(const leadline::kvstore::BlockId& id) const noexcept {
    return std::hash<leadline::kvstore::BlockKey>()(id.key) ^ (std::size_t{id.head} * 0x9E3779B97F4A7C15ULL);
  }
};
