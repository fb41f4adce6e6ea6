#include "kvstore/block_key.h"

#include <openssl/evp.h>

#include "monitoring/check.h"

namespace leadline::kvstore {
namespace {

// The tags end in a zero byte, so that neither is a prefix of the other's input.
constexpr std::string_view kRootTag{"leadline/block-root/1\0", 22};
constexpr std::string_view kBlockTag{"leadline/block/1\0", 17};

// One digest at a time; the context is kept per thread because making one costs more than a block's hash.
class Sha256 {
 public:
  Sha256() : context_(thread_context()) {
    LEADLINE_CHECK(EVP_DigestInit_ex2(context_, algorithm(), nullptr) == 1, "SHA-256 init");
  }
  Sha256& bytes(const void* data, std::size_t n) {
    LEADLINE_CHECK(EVP_DigestUpdate(context_, data, n) == 1, "SHA-256 update");
    return *this;
  }
  Sha256& text(std::string_view s) { return bytes(s.data(), s.size()); }
  Sha256& u32(std::uint32_t v) {
    const std::array<std::uint8_t, 4> le = {static_cast<std::uint8_t>(v), static_cast<std::uint8_t>(v >> 8),
                                            static_cast<std::uint8_t>(v >> 16),
                                            static_cast<std::uint8_t>(v >> 24)};
    return bytes(le.data(), le.size());
  }
  Sha256& field(std::string_view s) { return u32(static_cast<std::uint32_t>(s.size())).text(s); }
  BlockKey finish() {
    BlockKey key;
    LEADLINE_CHECK(EVP_DigestFinal_ex(context_, key.bytes.data(), nullptr) == 1, "SHA-256 final");
    return key;
  }

 private:
  static const EVP_MD* algorithm() {
    static const EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // for the life of the process
    LEADLINE_CHECK(md != nullptr, "OpenSSL has no SHA-256");
    return md;
  }
  static EVP_MD_CTX* thread_context() {
    struct Holder {
      EVP_MD_CTX* context = EVP_MD_CTX_new();
      ~Holder() { EVP_MD_CTX_free(context); }
    };
    thread_local Holder holder;
    LEADLINE_CHECK(holder.context != nullptr, "no memory for a digest");
    return holder.context;
  }
  EVP_MD_CTX* context_;
};

}  // namespace

BlockKey root_key(const ChainIdentity& identity) {
  return Sha256()
      .text(kRootTag)
      .field(identity.model_fingerprint)
      .bytes(identity.salt.data(), identity.salt.size())
      .field(identity.compression)
      .field(identity.lossy_codec)
      .finish();
}

BlockKey next_key(const BlockKey& parent, std::span<const std::int32_t> tokens) {
  Sha256 hash;
  hash.text(kBlockTag)
      .bytes(parent.bytes.data(), parent.bytes.size())
      .u32(static_cast<std::uint32_t>(tokens.size()));
  for (const std::int32_t token : tokens) hash.u32(static_cast<std::uint32_t>(token));
  return hash.finish();
}

std::vector<BlockKey> block_keys(const BlockKey& root, std::span<const std::int32_t> tokens,
                                 std::size_t block_tokens) {
  LEADLINE_CHECK(block_tokens > 0, "blocks of no tokens");
  std::vector<BlockKey> keys;
  keys.reserve(tokens.size() / block_tokens);
  for (std::size_t i = 0; i + block_tokens <= tokens.size(); i += block_tokens)
    keys.push_back(next_key(keys.empty() ? root : keys.back(), tokens.subspan(i, block_tokens)));
  return keys;
}

std::string to_hex(const BlockKey& key) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t b : key.bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

}  // namespace leadline::kvstore
