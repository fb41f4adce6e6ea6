#pragma once
// Codecs of a block's payload at rest, and of a page when it seals. Not the block's header and checksum
// (kvstore/block.h, whose `codec` field holds a Codec's number) and not devices. Pure; any thread.
//
//   none      the units as they lie in a page
//   lossless  exponents and mantissas apart, exponents under contexts (entropy.h): any payload, bit for bit
//   int8      symmetric per (token, head), scale bf16
//   int4      KIVI (arXiv 2402.02750): keys per channel over the unit's slots, values per token over groups
//   of 32
//             channels, asymmetric, zero exact, scale bf16
//
// Exactness. encode_units / decode_units give the payload back bit for bit under every codec: int8 and int4
// describe what is there, correct the few elements that they do not hit, and give way to lossless where that
// is smaller. The loss happens in one place only, seal_units, when a page reaches its age (exactness X5);
// a payload that was sealed is what int8 and int4 describe without corrections. So a tier never changes an
// answer, whatever it was told to use. Bounds of seal_units: group_quantizer.h.
//
// Encoded bytes: docs/formats/kv_codec.md. The decoder is for outside bytes: it is bounded by the caller's
// shape, and anything wrong is malformed.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kvstore/codec/unit_format.h"
#include "kvstore/errc.h"

namespace leadline::kvstore {

enum class Codec : std::uint8_t { none = 0, lossless = 1, int8 = 2, int4 = 3 };
inline constexpr std::string_view kCodecNames[] = {"none", "lossless", "int8", "int4"};
[[nodiscard]] std::optional<Codec> codec_named(std::string_view name);
[[nodiscard]] constexpr bool lossy(Codec codec) {
  return codec == Codec::int8 || codec == Codec::int4;
}
// The id of a lossy codec in block keys (exactness X7); "" for the others. Changes with the arithmetic.
[[nodiscard]] std::string_view lossy_codec_id(Codec codec);

inline constexpr std::size_t kMaxCodecUnits = 4096;  // layers of a block

// payload: `units` units of format.unit_bytes end to end. REQUIRES: format.valid(), units <= kMaxCodecUnits.
// `entropy` false: codes as they are, for comparison.
[[nodiscard]] std::vector<std::byte> encode_units(Codec codec, const UnitFormat& format, std::size_t units,
                                                  std::span<const std::byte> payload, bool entropy = true);
Result<void> decode_units(Codec codec, const UnitFormat& format, std::size_t units,
                          std::span<const std::byte> encoded, std::span<std::byte> payload);

// A page seals: every group of these units becomes what the codec keeps of it, in place. A group with an
// element that is not finite stays as it is. Does nothing for none and lossless.
void seal_units(Codec codec, const UnitFormat& format, std::size_t units, std::span<std::byte> payload);

}  // namespace leadline::kvstore
