#pragma once
// Blocks for tests of the store: deterministic bytes for (chain, index, head), with the header that goes with
// them. Not real KV. Thread: values.

#include <cstdint>
#include <vector>

#include "kvstore/block.h"

namespace leadline::tests {

// Key of block `index` of chain number `chain`; index -1 is the chain's root.
inline kvstore::BlockKey sample_key(int chain, int index) {
  kvstore::BlockKey key = kvstore::root_key({.model_fingerprint = "sample-" + std::to_string(chain)});
  for (int i = 0; i <= index; ++i) {
    const std::vector<std::int32_t> tokens(16, i);
    key = kvstore::next_key(key, tokens);
  }
  return key;
}

inline kvstore::BlockHeader sample_header(int chain, int index, int head) {
  kvstore::BlockHeader h;
  h.id = {sample_key(chain, index), static_cast<std::uint16_t>(head)};
  h.parent = sample_key(chain, index - 1);
  h.depth = static_cast<std::uint32_t>(index);
  h.first_position = 16 * h.depth;
  h.tokens = h.slots = 16;
  h.layers = 2;
  h.head_dim = 8;
  h.dtype = 1;
  h.fingerprint = "0123456789abcdef-kv-bf16";
  h.layout = "test/1";
  return h;
}

inline kvstore::BlockPtr sample_block(int chain, int index, int head = 0, std::size_t payload_bytes = 1024,
                                      std::uint64_t expires_unix_s = 0) {
  kvstore::BlockHeader h = sample_header(chain, index, head);
  h.expires_unix_s = expires_unix_s;
  kvstore::BlockDraft draft(std::move(h), payload_bytes);
  std::uint32_t state = 2463534242U + static_cast<std::uint32_t>(chain * 7919 + index * 104729 + head);
  for (std::byte& b : draft.payload()) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    b = static_cast<std::byte>(state);
  }
  return std::move(draft).seal();
}

}  // namespace leadline::tests
