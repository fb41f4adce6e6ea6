#include "kvstore/codec/entropy.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <string>

#include "kvstore/codec/rans.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace leadline::kvstore {
namespace {

enum Method : std::uint8_t { kPlain = 0, kOneTable = 1, kContexts = 2, kZstd = 3 };
constexpr std::size_t kSectionHead = 5;
constexpr int kZstdLevel = 1;
constexpr std::uint8_t kFirst = 31;  // the context of a layer's first token

tl::unexpected<Error> bad(const std::string& what) {
  return monitoring::fail(Errc::malformed, "entropy section: " + what);
}

unsigned size_of(std::uint8_t code) {
  const int q = static_cast<std::int8_t>(code);
  return static_cast<unsigned>(q < 0 ? -q : q);
}

// The context of symbol i from the symbols before it. One function for both sides.
std::uint8_t context_of(Context kind, std::size_t channels, std::size_t slot, const std::uint8_t* at) {
  if (slot == 0 || kind == Context::none) return kind == Context::none ? 0 : kFirst;
  const std::uint8_t one = *(at - channels);
  const std::uint8_t two = slot == 1 ? one : *(at - 2 * channels);
  switch (kind) {
    case Context::none:
      return 0;
    case Context::level:
      return static_cast<std::uint8_t>(std::min((unsigned{one} + two + 1) / 2, 15U));
    case Context::magnitude: {
      // Powers of four of the two sizes' sum: each wide table costs hundreds of bytes.
      const unsigned sum = size_of(one) + size_of(two);
      return static_cast<std::uint8_t>((std::bit_width(sum) + 1) / 2);
    }
    case Context::nibble:
      return one & 15U;
  }
  return 0;
}

// Calls use(index, slot) for all symbols in order.
template <typename Use>
void each_symbol(const StreamShape& shape, Use&& use) {
  std::size_t i = 0;
  for (std::size_t layer = 0; layer < shape.layers; ++layer)
    for (std::size_t slot = 0; slot < shape.slots; ++slot)
      for (std::size_t c = 0; c < shape.channels; ++c, ++i) use(i, slot);
}

std::vector<std::byte> plain(const StreamShape& shape, std::span<const std::uint8_t> symbols) {
  std::vector<std::byte> out;
  if (shape.bits == 8) {
    out.resize(symbols.size());
    if (!symbols.empty()) std::memcpy(out.data(), symbols.data(), symbols.size());  // memcpy takes no null
    return out;
  }
  out.resize((symbols.size() + 1) / 2);
  for (std::size_t i = 0; i < symbols.size(); ++i)
    out[i / 2] |= static_cast<std::byte>((symbols[i] & 15U) << (i % 2 * 4));
  return out;
}

struct Coded {
  Method method;
  std::vector<std::byte> bytes;
};

Coded smallest(const StreamShape& shape, std::span<const std::uint8_t> symbols) {
  const std::size_t n = symbols.size();
  auto one = std::make_unique<RansCounts>();
  for (std::uint8_t s : symbols) ++(*one)[0][s];
  std::vector<std::uint8_t> contexts(n, 0);
  std::size_t best = n * shape.bits / 8, size = rans_estimate(*one);
  Method method = kPlain;
  if (size < best) best = size, method = kOneTable;
  std::unique_ptr<RansCounts> many;
  if (shape.context != Context::none) {
    many = std::make_unique<RansCounts>();
    each_symbol(shape, [&](std::size_t i, std::size_t slot) {
      contexts[i] = context_of(shape.context, shape.channels, slot, symbols.data() + i);
      ++(*many)[contexts[i]][symbols[i]];
    });
    size = rans_estimate(*many);
    if (size < best) best = size, method = kContexts;
  }
  Coded coded{kPlain, plain(shape, symbols)};
  if (method == kContexts) coded = {kContexts, rans_encode(symbols, contexts, *many)};
  if (method == kOneTable) {
    std::fill(contexts.begin(), contexts.end(), 0);
    coded = {kOneTable, rans_encode(symbols, contexts, *one)};
  }
  // zstd finds what tables cannot: repeated runs.
  std::vector<std::byte> packed = zstd_pack(std::as_bytes(symbols), kZstdLevel);
  if (packed.size() < coded.bytes.size()) coded = {kZstd, std::move(packed)};
  return coded;
}

Result<void> unpack_rans(const StreamShape& shape, bool contexts, std::span<const std::byte> bytes,
                         std::span<std::uint8_t> out) {
  auto decoder = RansDecoder::open(bytes);
  if (!decoder) return tl::unexpected(decoder.error());
  if (contexts)
    each_symbol(shape, [&](std::size_t i, std::size_t slot) {
      out[i] = decoder->next(context_of(shape.context, shape.channels, slot, out.data() + i));
    });
  else
    for (std::uint8_t& symbol : out) symbol = decoder->next(0);
  if (!decoder->ok()) return bad("the rANS words do not end where they should");
  if (shape.bits == 4)
    for (std::uint8_t symbol : out)
      if (symbol > 15) return bad("a symbol of more than 4 bits");
  return {};
}

}  // namespace

void put_stream(const StreamShape& shape, std::span<const std::uint8_t> symbols, bool fast,
                std::vector<std::byte>& out) {
  LEADLINE_CHECK(symbols.size() == shape.symbols() && (shape.bits == 4 || shape.bits == 8), "stream shape");
  const Coded coded = fast ? Coded{kPlain, plain(shape, symbols)} : smallest(shape, symbols);
  const auto length = static_cast<std::uint32_t>(coded.bytes.size());
  const std::size_t at = out.size();
  out.resize(at + kSectionHead + length);
  out[at] = std::byte{coded.method};
  std::memcpy(out.data() + at + 1, &length, 4);
  if (length != 0) std::memcpy(out.data() + at + kSectionHead, coded.bytes.data(), length);
}

Result<void> SectionReader::stream(const StreamShape& shape, std::span<std::uint8_t> out) {
  LEADLINE_CHECK(out.size() == shape.symbols(), "stream shape");
  if (left_.size() < kSectionHead) return bad("cut off");
  const auto method = static_cast<std::uint8_t>(left_[0]);
  std::uint32_t length = 0;
  std::memcpy(&length, left_.data() + 1, 4);
  if (length > left_.size() - kSectionHead)
    return bad("length " + std::to_string(length) + " of " + std::to_string(left_.size() - kSectionHead));
  const auto bytes = left_.subspan(kSectionHead, length);
  left_ = left_.subspan(kSectionHead + length);
  if (method == kPlain) {
    if (length != (out.size() * shape.bits + 7) / 8) return bad("plain symbols of a wrong length");
    if (shape.bits == 8) {
      if (length != 0) std::memcpy(out.data(), bytes.data(), length);
      return {};
    }
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::uint8_t>(bytes[i / 2]) >> (i % 2 * 4) & 15U;
    return {};
  }
  if (method == kOneTable || method == kContexts) return unpack_rans(shape, method == kContexts, bytes, out);
  if (method == kZstd) {
    if (auto done = zstd_unpack(bytes, std::as_writable_bytes(out)); !done) return done;
    if (shape.bits == 4)
      for (std::uint8_t symbol : out)
        if (symbol > 15) return bad("a symbol of more than 4 bits");
    return {};
  }
  return bad("method " + std::to_string(method) + " is unknown");
}

std::vector<std::byte> zstd_pack(std::span<const std::byte> bytes, int level) {
  std::vector<std::byte> out(ZSTD_compressBound(bytes.size()));
  const std::size_t n = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), level);
  LEADLINE_CHECK(ZSTD_isError(n) == 0, "zstd cannot fail with a whole bound of room");
  out.resize(n);
  return out;
}

Result<void> zstd_unpack(std::span<const std::byte> bytes, std::span<std::byte> out) {
  const std::size_t n = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(n) != 0) return bad(std::string("zstd: ") + ZSTD_getErrorName(n));
  if (n != out.size())
    return bad("zstd gives " + std::to_string(n) + " bytes of " + std::to_string(out.size()));
  return {};
}

}  // namespace leadline::kvstore
