#pragma once
// BlockKey: the content address of one block of KV, a SHA-256 chain over everything that fixes its bytes
// (exactness X6, X7). A security boundary: blocks are shared between requests only through equal keys, so two
// tenant salts never share. Not a hash table hash and not a checksum of the bytes. OpenSSL is used in
// block_key.cpp only. Thread: any; pure functions.
//
// Canonical bytes (integers little endian; golden vectors in tests/unit/kvstore/block_key_test.cpp):
//   root key  = SHA-256("leadline/block-root/1\0" | fingerprint | salt[32] | compression | codec)
//               fingerprint, compression, codec each as u32 length, then the bytes; "" for none
//   block key = SHA-256("leadline/block/1\0" | parent key[32] | u32 token count | each token as i32)
// The root binds model, tenant and every lossy parameter; each key binds its parent, and so all tokens before
// it.

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace leadline::kvstore {

using TenantSalt = std::array<std::uint8_t, 32>;

struct BlockKey {
  std::array<std::uint8_t, 32> bytes{};
  friend auto operator<=>(const BlockKey&, const BlockKey&) = default;
};

// What fixes a chain besides its tokens. Lossless stages are not part of it.
struct ChainIdentity {
  std::string_view model_fingerprint;  // exactness X7; hex or any bytes
  TenantSalt salt{};                   // zero = the default tenant
  std::string_view compression;        // id and parameters; "" = none
  std::string_view lossy_codec;        // id; "" = none
};

BlockKey root_key(const ChainIdentity& identity);
BlockKey next_key(const BlockKey& parent, std::span<const std::int32_t> tokens);

// Keys of the first `floor(tokens.size() / block_tokens)` blocks below `root`, in order.
std::vector<BlockKey> block_keys(const BlockKey& root, std::span<const std::int32_t> tokens,
                                 std::size_t block_tokens);

std::string to_hex(const BlockKey& key);  // 64 lower-case digits

}  // namespace leadline::kvstore

template <>
struct std::hash<leadline::kvstore::BlockKey> {
  std::size_t operator()(const leadline::kvstore::BlockKey& key) const noexcept {
    std::size_t h = 0;  // the bytes are already uniform
    std::memcpy(&h, key.bytes.data(), sizeof h);
    return h;
  }
};
