// Any bytes are refused or decode to a payload that encodes and decodes to itself. The first three bytes
// choose codec and shape.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "kvstore/codec/block_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leadline::kvstore;
  if (size < 3) return 0;
  const auto codec = static_cast<Codec>(data[0] % 4);
  const auto element = static_cast<Element>(data[1] % 3);
  const std::uint32_t slots = data[1] & 64 ? 16 : 3, dim = 1 + data[2] % 32;
  const std::size_t units = data[0] / 64;
  const std::uint64_t plane = std::uint64_t{slots} * dim * element_bytes(element);
  const UnitFormat format = transposed_keys_format(element, slots, dim, dim, plane, 2 * plane);
  const std::span bytes(reinterpret_cast<const std::byte*>(data + 3), size - 3);
  std::vector<std::byte> payload(units * format.unit_bytes), again(payload.size());
  const auto decoded = decode_units(codec, format, units, bytes, payload);
  if (!decoded.has_value()) {
    if (decoded.error().code != Errc::malformed || decoded.error().message.empty()) std::abort();
    return 0;
  }
  const auto encoded = encode_units(codec, format, units, payload);
  if (!decode_units(codec, format, units, encoded, again).has_value() || again != payload) std::abort();
  return 0;
}
