#pragma once
// UnitCodec: kvstore's codecs on a backend's KV units: knows how a pool's units lie and joins them to
// kvstore/codec. Not which page when (sequence_cache, block_mover) and not tiers. Thread: any; immutable.
// Invariants: decode(encode(units)) gives the same bits; seal() is the one place where a lossy codec loses
// something (exactness X5), a function of the page's bytes alone.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvstore/codec/block_codec.h"
#include "worker/backend/backend.h"
#include "worker/errc.h"

namespace leadline::worker {

class UnitCodec {
 public:
  // configuration: a lossy codec for pages that codecs do not know (a device's, or with scales of their own).
  static Result<UnitCodec> of(const KvPool& pool, kvstore::Codec codec);

  [[nodiscard]] kvstore::Codec codec() const { return codec_; }
  // None: units are opaque here, encode() leaves them as they are.
  [[nodiscard]] const std::optional<kvstore::UnitFormat>& format() const { return format_; }
  // Goes into ChainIdentity::lossy_codec.
  [[nodiscard]] std::string_view chain_id() const { return kvstore::lossy_codec_id(codec_); }
  // For BlockHeader::codec, of what encode() gives.
  [[nodiscard]] std::uint8_t header_codec() const;

  // units end to end -> payload of a block, and back. Decoding takes any codec that the header may name.
  [[nodiscard]] std::vector<std::byte> encode(std::span<const std::byte> units) const;
  [[nodiscard]] bool decode(std::uint8_t header_codec, std::span<const std::byte> payload,
                            std::span<std::byte> units) const;
  // What a page becomes when it seals; nothing under a lossless codec.
  void seal(std::span<std::byte> units) const;

 private:
  UnitCodec(kvstore::Codec codec, std::optional<kvstore::UnitFormat> format, std::size_t unit_bytes)
      : codec_(codec), format_(format), unit_bytes_(unit_bytes) {}
  kvstore::Codec codec_;
  std::optional<kvstore::UnitFormat> format_;
  std::size_t unit_bytes_;
};

}  // namespace leadline::worker
