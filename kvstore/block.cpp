#include "kvstore/block.h"

#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "monitoring/check.h"

namespace leadline::kvstore {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie in memory");

constexpr char kMagic[4] = {'L', 'K', 'V', 'B'};
constexpr std::size_t kChecksumAt = 8, kChecksumBytes = 16;
constexpr std::size_t kHeaderAlignment = 64;  // so that a payload begins where a vector load likes it
constexpr std::size_t kFixedBytes = 160;      // up to the texts

class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <typename T>
  void value(T v) {
    static_assert(std::is_arithmetic_v<T>);
    raw(&v, sizeof v);
  }
  void raw(const void* data, std::size_t n) {
    std::memcpy(at_, data, n);
    at_ += n;
  }
  void text(const std::string& s) {
    value(static_cast<std::uint16_t>(s.size()));
    if (!s.empty()) raw(s.data(), s.size());
  }

 private:
  std::byte* at_;
};

// Reads within its bytes, or remembers the first field that was short.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <typename T>
  T value(const char* field) {
    T v{};
    raw(&v, sizeof v, field);
    return v;
  }
  void raw(void* out, std::size_t n, const char* field) {
    if (left_.size() < n) return wrong(field);
    std::memcpy(out, left_.data(), n);
    left_ = left_.subspan(n);
  }
  std::string text(const char* field) {
    const auto n = value<std::uint16_t>(field);
    if (n > kMaxBlockText || n > left_.size()) {
      wrong(field);
      return {};
    }
    std::string s(reinterpret_cast<const char*>(left_.data()), n);
    left_ = left_.subspan(n);
    return s;
  }
  void wrong(const char* field) {
    if (error_ == nullptr) error_ = field;
    left_ = {};
  }
  void require(bool ok, const char* field) {
    if (!ok) wrong(field);
  }
  [[nodiscard]] const char* error() const { return error_; }
  [[nodiscard]] std::span<const std::byte> left() const { return left_; }

 private:
  std::span<const std::byte> left_;
  const char* error_ = nullptr;
};

std::size_t header_bytes(const BlockHeader& h) {
  const std::size_t n =
      kFixedBytes + 3 * sizeof(std::uint16_t) + h.fingerprint.size() + h.compression.size() + h.layout.size();
  return (n + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment;
}

// Over everything but the checksum itself: what stands before it is the seed.
void checksum(std::span<const std::byte> block, std::byte out[kChecksumBytes]) {
  std::uint64_t seed = 0;
  static_assert(sizeof seed == kChecksumAt);
  std::memcpy(&seed, block.data(), sizeof seed);
  const auto rest = block.subspan(kChecksumAt + kChecksumBytes);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(rest.data(), rest.size(), seed));
  std::memcpy(out, canonical.digest, kChecksumBytes);
}

void write_header(const BlockHeader& h, std::size_t header_size, std::uint64_t payload_bytes, std::byte* at) {
  std::memset(at, 0, header_size);
  Writer w(at);
  w.raw(kMagic, sizeof kMagic);
  w.value(kBlockVersion);
  w.value(static_cast<std::uint16_t>(header_size));
  w.raw(std::array<std::byte, kChecksumBytes>{}.data(), kChecksumBytes);  // seal() fills it
  w.value(payload_bytes);
  w.value(h.raw_bytes);
  w.value(h.expires_unix_s);
  w.raw(h.id.key.bytes.data(), h.id.key.bytes.size());
  w.raw(h.parent.bytes.data(), h.parent.bytes.size());
  w.value(h.depth);
  w.value(h.first_position);
  w.value(h.tokens);
  w.value(h.slots);
  w.value(h.id.head);
  w.value(h.layers);
  w.value(h.head_dim);
  w.value(h.dtype);
  w.value(h.codec);
  w.raw(std::array<std::byte, 24>{}.data(), 24);  // reserved, zero
  w.text(h.fingerprint);
  w.text(h.compression);
  w.text(h.layout);
}

struct Parsed {
  BlockHeader header;
  std::size_t header_size = 0;
};

Result<Parsed> read_header(std::span<const std::byte> bytes, std::uint64_t total) {
  Parsed p;
  BlockHeader& h = p.header;
  Reader r(bytes);
  char magic[4] = {};
  r.raw(magic, sizeof magic, "magic");
  r.require(std::memcmp(magic, kMagic, sizeof magic) == 0, "magic");
  r.require(r.value<std::uint16_t>("version") == kBlockVersion, "version");
  p.header_size = r.value<std::uint16_t>("header_bytes");
  std::byte sum[kChecksumBytes];
  r.raw(sum, sizeof sum, "checksum");
  const auto payload = r.value<std::uint64_t>("payload_bytes");
  h.raw_bytes = r.value<std::uint64_t>("raw_bytes");
  h.expires_unix_s = r.value<std::uint64_t>("expires");
  r.raw(h.id.key.bytes.data(), h.id.key.bytes.size(), "key");
  r.raw(h.parent.bytes.data(), h.parent.bytes.size(), "parent");
  h.depth = r.value<std::uint32_t>("depth");
  h.first_position = r.value<std::uint32_t>("first_position");
  h.tokens = r.value<std::uint32_t>("tokens");
  h.slots = r.value<std::uint32_t>("slots");
  h.id.head = r.value<std::uint16_t>("head");
  h.layers = r.value<std::uint16_t>("layers");
  h.head_dim = r.value<std::uint16_t>("head_dim");
  h.dtype = r.value<std::uint8_t>("dtype");
  h.codec = r.value<std::uint8_t>("codec");
  for (int i = 0; i < 3; ++i) r.require(r.value<std::uint64_t>("reserved") == 0, "reserved");
  h.fingerprint = r.text("fingerprint");
  h.compression = r.text("compression");
  h.layout = r.text("layout");
  if (r.error() == nullptr) {
    r.require(p.header_size == header_bytes(h), "header_bytes");
    r.require(total <= kMaxBlockBytes && payload <= kMaxBlockBytes && p.header_size + payload == total,
              "payload_bytes");
    r.require(h.raw_bytes <= kMaxBlockBytes && (h.codec != 0 || h.raw_bytes == payload), "raw_bytes");
    r.require(h.slots <= h.tokens, "slots");
    for (std::size_t i = 0; i < r.left().size() && bytes.size() - r.left().size() + i < p.header_size; ++i)
      r.require(r.left()[i] == std::byte{0}, "padding");
  }
  if (r.error() != nullptr) return monitoring::fail(Errc::malformed, std::string("block: ") + r.error());
  return p;
}

}  // namespace

BlockDraft::BlockDraft(BlockHeader header, std::size_t payload_bytes) : header_(std::move(header)) {
  for (const std::string* text : {&header_.fingerprint, &header_.compression, &header_.layout})
    LEADLINE_CHECK(text->size() <= kMaxBlockText, "a block's text is too long");
  payload_at_ = header_bytes(header_);
  size_ = payload_at_ + payload_bytes;
  LEADLINE_CHECK(size_ <= kMaxBlockBytes, "a block beyond its limit");
  LEADLINE_CHECK(header_.slots <= header_.tokens, "a block with more slots than tokens");
  if (header_.codec == 0) header_.raw_bytes = payload_bytes;
  bytes_ = std::make_unique_for_overwrite<std::byte[]>(size_);
  write_header(header_, payload_at_, payload_bytes, bytes_.get());
}

std::span<std::byte> BlockDraft::payload() {
  return {bytes_.get() + payload_at_, size_ - payload_at_};
}

BlockPtr BlockDraft::seal() && {
  checksum({bytes_.get(), size_}, bytes_.get() + kChecksumAt);
  std::shared_ptr<Block> block(new Block);
  block->header_ = std::move(header_);
  block->bytes_ = std::move(bytes_);
  block->size_ = size_;
  block->payload_at_ = payload_at_;
  return block;
}

Result<BlockPtr> Block::parse(std::unique_ptr<std::byte[]> bytes, std::size_t size) {
  const std::span<const std::byte> whole(bytes.get(), size);
  auto parsed = read_header(whole, size);
  if (!parsed) return tl::unexpected(parsed.error());
  std::byte sum[kChecksumBytes];
  checksum(whole, sum);
  if (std::memcmp(sum, whole.data() + kChecksumAt, sizeof sum) != 0)
    return monitoring::fail(Errc::malformed, "block: checksum");
  std::shared_ptr<Block> block(new Block);
  block->header_ = std::move(parsed->header);
  block->bytes_ = std::move(bytes);
  block->size_ = size;
  block->payload_at_ = parsed->header_size;
  return BlockPtr(std::move(block));
}

Result<BlockPtr> Block::parse(std::span<const std::byte> bytes) {
  auto copy = std::make_unique_for_overwrite<std::byte[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
  return parse(std::move(copy), bytes.size());
}

Result<BlockHeader> parse_block_header(std::span<const std::byte> first_bytes, std::uint64_t total_bytes) {
  auto parsed = read_header(first_bytes, total_bytes);
  if (!parsed) return tl::unexpected(parsed.error());
  return std::move(parsed->header);
}

std::string_view foreign_field(const BlockHeader& got, const BlockHeader& expected) {
  if (got.id != expected.id) return "id";
  if (got.parent != expected.parent) return "parent";
  if (got.fingerprint != expected.fingerprint) return "fingerprint";
  if (got.compression != expected.compression) return "compression";
  if (got.layout != expected.layout) return "layout";
  if (got.layers != expected.layers) return "layers";
  if (got.head_dim != expected.head_dim) return "head_dim";
  if (got.dtype != expected.dtype) return "dtype";
  if (got.raw_bytes != expected.raw_bytes) return "raw_bytes";
  if (got.depth != expected.depth) return "depth";
  if (got.first_position != expected.first_position) return "first_position";
  if (got.tokens != expected.tokens || got.slots != expected.slots) return "tokens";
  return {};
}

}  // namespace leadline::kvstore
