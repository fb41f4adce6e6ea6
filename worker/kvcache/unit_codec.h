#pragma once
// UnitCodec: the server's KV codec on a backend's units: knows how a pool's units lie, for kvstore/codec. Not
// which page when (sequence_cache) and not blocks (kvstore/block_packing). Thread: any; immutable.
// Invariant: seal() is the one place where a lossy codec loses something (exactness X5), a function of the
// page's bytes alone.

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
  // None: units are opaque here, only a lossless codec may be used.
  [[nodiscard]] const std::optional<kvstore::UnitFormat>& format() const { return format_; }
  // Goes into every key: the codec's arithmetic and the schedule; "" when lossless.
  [[nodiscard]] static std::string chain_id(kvstore::Codec codec);
  // Tokens that are quantised together, when the last of them is committed.
  static constexpr std::uint32_t kGroupTokens = 128;

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
