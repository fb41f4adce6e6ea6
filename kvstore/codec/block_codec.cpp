#include "kvstore/codec/block_codec.h"

#include <algorithm>
#include <array>
#include <string>

#include "kvstore/codec/element_values.h"
#include "kvstore/codec/entropy.h"
#include "kvstore/codec/group_quantizer.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace leadline::kvstore {
namespace {

enum Form : std::uint8_t { kPlanes = 1, kInt8 = 2, kInt4 = 3, kWholeZstd = 4, kWholePlain = 5 };
constexpr std::uint32_t kChannelGroup = 32;  // of int4 values
constexpr std::size_t kPatchBytes = 8;

tl::unexpected<Error> bad(const std::string& what) {
  return monitoring::fail(Errc::malformed, "kv codec: " + what);
}

// Both planes of all units as element bits, (units, slots, head_dim) row-major.
struct Planes {
  std::array<std::vector<std::uint32_t>, 2> bits;  // K, V

  Planes(const UnitFormat& f, std::size_t units) {
    for (auto& plane : bits) plane.resize(units * f.values());
  }
  void gather(const UnitFormat& f, std::size_t units, const std::byte* payload) {
    for (std::size_t u = 0; u < units; ++u)
      for (int p = 0; p < 2; ++p)
        gather_plane(f, p == 0 ? f.k : f.v, payload + u * f.unit_bytes, bits[p].data() + u * f.values());
  }
  void scatter(const UnitFormat& f, std::size_t units, std::byte* payload) const {
    for (std::size_t u = 0; u < units; ++u)
      for (int p = 0; p < 2; ++p)
        scatter_plane(f, p == 0 ? f.k : f.v, bits[p].data() + u * f.values(), payload + u * f.unit_bytes);
  }
};

// Exponent and the rest of an element.
struct ElementParts {
  std::uint32_t mantissa_bits, exponent_bits;
  explicit ElementParts(Element e)
      : mantissa_bits(e == Element::f32    ? 23
                      : e == Element::bf16 ? 7
                                           : 10),
        exponent_bits(e == Element::f16 ? 5 : 8) {}
  [[nodiscard]] std::uint32_t exponent(std::uint32_t bits) const {
    return bits >> mantissa_bits & ((1U << exponent_bits) - 1);
  }
  [[nodiscard]] std::uint32_t rest(std::uint32_t bits) const {  // sign above the mantissa
    return (bits & ((1U << mantissa_bits) - 1)) | (bits >> (mantissa_bits + exponent_bits)) << mantissa_bits;
  }
  [[nodiscard]] std::uint32_t whole(std::uint32_t exponent, std::uint32_t rest) const {
    const std::uint32_t mantissa = rest & ((1U << mantissa_bits) - 1), sign = rest >> mantissa_bits & 1U;
    return mantissa | exponent << mantissa_bits | sign << (mantissa_bits + exponent_bits);
  }
  [[nodiscard]] std::uint32_t rest_bytes() const { return (mantissa_bits + 1 + 7) / 8; }
};

StreamShape flat(std::size_t n) {
  return {1, 1, n, 8, Context::none};
}

void put_number_streams(std::span<const std::uint32_t> numbers, std::uint32_t bytes, bool fast,
                        std::vector<std::byte>& out) {
  std::vector<std::uint8_t> stream(numbers.size());
  for (std::uint32_t b = 0; b < bytes; ++b) {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      stream[i] = static_cast<std::uint8_t>(numbers[i] >> (8 * b));
    put_stream(flat(numbers.size()), stream, fast, out);
  }
}
Result<void> get_number_streams(SectionReader& in, std::uint32_t bytes, std::span<std::uint32_t> numbers) {
  std::vector<std::uint8_t> stream(numbers.size());
  std::fill(numbers.begin(), numbers.end(), 0);
  for (std::uint32_t b = 0; b < bytes; ++b) {
    if (auto read = in.stream(flat(numbers.size()), stream); !read) return read;
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] |= std::uint32_t{stream[i]} << (8 * b);
  }
  return {};
}

// --- lossless ---

void put_planes(const UnitFormat& f, std::size_t units, const Planes& planes, bool fast,
                std::vector<std::byte>& out) {
  const ElementParts parts(f.element);
  for (const auto& bits : planes.bits) {
    std::vector<std::uint32_t> tops(units), rest(bits.size());
    std::vector<std::uint8_t> levels(bits.size());
    for (std::size_t u = 0; u < units; ++u) {
      const std::size_t begin = u * f.values(), end = begin + f.values();
      for (std::size_t i = begin; i < end; ++i) tops[u] = std::max(tops[u], parts.exponent(bits[i]));
      for (std::size_t i = begin; i < end; ++i) {
        levels[i] = static_cast<std::uint8_t>(tops[u] - parts.exponent(bits[i]));
        rest[i] = parts.rest(bits[i]);
      }
    }
    put_number_streams(tops, 1, fast, out);
    put_stream({units, f.slots, f.head_dim, 8, Context::level}, levels, fast, out);
    put_number_streams(rest, parts.rest_bytes(), true, out);  // noise: trying costs more than it gives
  }
}

Result<void> get_planes(SectionReader& in, const UnitFormat& f, std::size_t units, Planes& planes) {
  const ElementParts parts(f.element);
  std::vector<std::uint32_t> tops(units), rest(units * f.values());
  std::vector<std::uint8_t> levels(units * f.values());
  for (auto& bits : planes.bits) {
    if (auto read = get_number_streams(in, 1, tops); !read) return read;
    if (auto read = in.stream({units, f.slots, f.head_dim, 8, Context::level}, levels); !read) return read;
    if (auto read = get_number_streams(in, parts.rest_bytes(), rest); !read) return read;
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const std::uint32_t top = tops[i / f.values()];
      if (levels[i] > top || top >> parts.exponent_bits != 0)
        return bad("an exponent below zero or too large");
      if (rest[i] >> (parts.mantissa_bits + 1) != 0) return bad("a mantissa that is too large");
      bits[i] = parts.whole(top - levels[i], rest[i]);
    }
  }
  return {};
}

// --- int8 and int4 ---

// How one plane of a unit falls into groups: use(first element, elements, stride between them).
template <typename Use>
void each_group(Codec codec, int plane, const UnitFormat& f, Use&& use) {
  const std::size_t slots = f.slots, dim = f.head_dim;
  if (codec == Codec::int8) {
    for (std::size_t s = 0; s < slots; ++s) use(s * dim, dim, std::size_t{1});
  } else if (plane == 0) {
    for (std::size_t d = 0; d < dim; ++d) use(d, slots, dim);
  } else {
    for (std::size_t s = 0; s < slots; ++s)
      for (std::size_t d = 0; d < dim; d += kChannelGroup)
        use(s * dim + d, std::min<std::size_t>(kChannelGroup, dim - d), std::size_t{1});
  }
}
std::size_t groups_of(Codec codec, int plane, const UnitFormat& f) {
  if (codec == Codec::int8) return f.slots;
  return plane == 0 ? f.head_dim : std::size_t{f.slots} * ((f.head_dim + kChannelGroup - 1) / kChannelGroup);
}

auto quantizer(Codec codec) {
  return codec == Codec::int8 ? quantize_symmetric : quantize_asymmetric;
}
auto dequantizer(Codec codec) {
  return codec == Codec::int8 ? dequantize_symmetric : dequantize_asymmetric;
}

StreamShape codes_shape(Codec codec, const UnitFormat& f, std::size_t units) {
  return codec == Codec::int8 ? StreamShape{units, f.slots, f.head_dim, 8, Context::magnitude}
                              : StreamShape{units, f.slots, f.head_dim, 4, Context::nibble};
}

struct PlaneCodes {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint32_t> scales, zeros;  // per group
};

// False: a group has no codes.
bool quantize_plane(Codec codec, int plane, const UnitFormat& f, std::span<const std::uint32_t> bits,
                    PlaneCodes& out) {
  std::vector<float> values(f.values());
  out.codes.resize(bits.size());
  bool whole = true;
  for (std::size_t at = 0; at < bits.size(); at += f.values()) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = element_value(f.element, bits[at + i]);
    each_group(codec, plane, f, [&](std::size_t first, std::size_t n, std::size_t stride) {
      GroupScale scale;
      whole = whole && quantizer(codec)(f.element, values.data() + first, n, stride,
                                        out.codes.data() + at + first, scale);
      out.scales.push_back(scale.scale);
      out.zeros.push_back(scale.zero);
    });
  }
  return whole;
}

void dequantize_plane(Codec codec, int plane, const UnitFormat& f, const PlaneCodes& in,
                      std::span<std::uint32_t> bits) {
  std::size_t group = 0;
  for (std::size_t at = 0; at < bits.size(); at += f.values())
    each_group(codec, plane, f, [&](std::size_t first, std::size_t n, std::size_t stride) {
      const GroupScale scale{static_cast<std::uint16_t>(in.scales[group]), in.zeros[group]};
      ++group;
      dequantizer(codec)(f.element, scale, n, stride, in.codes.data() + at + first, bits.data() + at + first);
    });
}

void put_patches(const Planes& planes, const Planes& decoded, std::vector<std::byte>& out) {
  const std::size_t count_at = out.size();
  out.resize(count_at + 4);
  std::uint32_t count = 0;
  for (std::uint32_t p = 0; p < 2; ++p)
    for (std::size_t i = 0; i < planes.bits[p].size(); ++i) {
      if (planes.bits[p][i] == decoded.bits[p][i]) continue;
      const std::uint32_t patch[2] = {static_cast<std::uint32_t>(p * planes.bits[0].size() + i),
                                      planes.bits[p][i]};
      const auto* raw = reinterpret_cast<const std::byte*>(patch);
      out.insert(out.end(), raw, raw + kPatchBytes);
      ++count;
    }
  std::memcpy(out.data() + count_at, &count, 4);
}

Result<void> apply_patches(std::span<const std::byte> bytes, const UnitFormat& f, Planes& planes) {
  std::uint32_t count = 0;
  if (bytes.size() < 4) return bad("corrections are cut off");
  std::memcpy(&count, bytes.data(), 4);
  if (bytes.size() - 4 != count * kPatchBytes) return bad("corrections of a wrong length");
  const std::size_t plane_values = planes.bits[0].size();
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t patch[2];
    std::memcpy(patch, bytes.data() + 4 + i * kPatchBytes, kPatchBytes);
    if (patch[0] >= 2 * plane_values) return bad("a correction of no element");
    if (element_bytes(f.element) == 2 && patch[1] > 0xFFFF) return bad("a correction that is no element");
    planes.bits[patch[0] / plane_values][patch[0] % plane_values] = patch[1];
  }
  return {};
}

bool put_quantized(Codec codec, const UnitFormat& f, std::size_t units, const Planes& planes, bool fast,
                   std::vector<std::byte>& out) {
  Planes decoded(f, units);
  for (int p = 0; p < 2; ++p) {
    PlaneCodes plane;
    if (!quantize_plane(codec, p, f, planes.bits[p], plane)) return false;
    put_stream(codes_shape(codec, f, units), plane.codes, fast, out);
    put_number_streams(plane.scales, 2, fast, out);
    if (codec == Codec::int4)
      put_number_streams(plane.zeros, static_cast<std::uint32_t>(element_bytes(f.element)), fast, out);
    dequantize_plane(codec, p, f, plane, decoded.bits[p]);
  }
  put_patches(planes, decoded, out);
  return true;
}

Result<void> get_quantized(Codec codec, std::span<const std::byte> bytes, const UnitFormat& f,
                           std::size_t units, Planes& planes) {
  SectionReader in(bytes);
  for (int p = 0; p < 2; ++p) {
    PlaneCodes plane;
    plane.codes.resize(units * f.values());
    plane.scales.resize(units * groups_of(codec, p, f));
    plane.zeros.resize(plane.scales.size());
    if (auto read = in.stream(codes_shape(codec, f, units), plane.codes); !read) return read;
    if (auto read = get_number_streams(in, 2, plane.scales); !read) return read;
    if (codec == Codec::int4) {
      const auto size = static_cast<std::uint32_t>(element_bytes(f.element));
      if (auto read = get_number_streams(in, size, plane.zeros); !read) return read;
    }
    dequantize_plane(codec, p, f, plane, planes.bits[p]);
  }
  return apply_patches(bytes.last(in.left()), f, planes);
}

// Zero outside the planes? Else only the whole bytes will do.
bool padding_is_zero(const UnitFormat& f, std::size_t units, const Planes& planes,
                     std::span<const std::byte> payload) {
  std::vector<std::byte> again(payload.size());
  planes.scatter(f, units, again.data());
  return std::equal(again.begin(), again.end(), payload.begin());
}

std::vector<std::byte> encode_whole(std::span<const std::byte> payload) {
  const std::vector<std::byte> packed = zstd_pack(payload, 1);
  const bool smaller = packed.size() < payload.size();
  const std::span<const std::byte> bytes = smaller ? std::span<const std::byte>(packed) : payload;
  std::vector<std::byte> out(1 + bytes.size());
  out[0] = std::byte{smaller ? kWholeZstd : kWholePlain};
  std::copy(bytes.begin(), bytes.end(), out.begin() + 1);
  return out;
}

}  // namespace

std::optional<Codec> codec_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kCodecNames); ++i)
    if (name == kCodecNames[i]) return static_cast<Codec>(i);
  return std::nullopt;
}

std::string_view lossy_codec_id(Codec codec) {
  switch (codec) {
    case Codec::none:
    case Codec::lossless:
      return "";
    case Codec::int8:
      return "int8-token-head/1";
    case Codec::int4:
      return "int4-kivi/1";
  }
  return "";
}

std::vector<std::byte> encode_units(Codec codec, const UnitFormat& format, std::size_t units,
                                    std::span<const std::byte> payload, bool entropy) {
  LEADLINE_CHECK(format.valid() && units <= kMaxCodecUnits, "unit format");
  LEADLINE_CHECK(payload.size() == units * format.unit_bytes, "payload of whole units");
  if (codec == Codec::none) return {payload.begin(), payload.end()};
  Planes planes(format, units);
  planes.gather(format, units, payload.data());
  if (!padding_is_zero(format, units, planes, payload)) return encode_whole(payload);
  std::vector<std::byte> best;
  if (lossy(codec)) {
    best.assign(1, std::byte{codec == Codec::int8 ? kInt8 : kInt4});
    if (!put_quantized(codec, format, units, planes, !entropy, best)) best.clear();
    // As large as this a description is no description: most elements were corrected.
    if (best.size() < payload.size() * 2 / 3 && !best.empty()) return best;
  }
  std::vector<std::byte> out(1, std::byte{kPlanes});
  put_planes(format, units, planes, !entropy, out);
  if (!best.empty() && best.size() <= out.size()) out = std::move(best);
  return out.size() <= payload.size() ? out : encode_whole(payload);
}

Result<void> decode_units(Codec codec, const UnitFormat& format, std::size_t units,
                          std::span<const std::byte> encoded, std::span<std::byte> payload) {
  LEADLINE_CHECK(format.valid() && units <= kMaxCodecUnits, "unit format");
  LEADLINE_CHECK(payload.size() == units * format.unit_bytes, "payload of whole units");
  if (codec == Codec::none) {
    if (encoded.size() != payload.size()) return bad("payload of a wrong length");
    std::copy(encoded.begin(), encoded.end(), payload.begin());
    return {};
  }
  if (encoded.empty()) return bad("no bytes");
  const auto form = static_cast<std::uint8_t>(encoded[0]);
  const auto bytes = encoded.subspan(1);
  if (form == kWholeZstd) return zstd_unpack(bytes, payload);
  if (form == kWholePlain) {
    if (bytes.size() != payload.size()) return bad("payload of a wrong length");
    std::copy(bytes.begin(), bytes.end(), payload.begin());
    return {};
  }
  Planes planes(format, units);
  if (form == kPlanes) {
    SectionReader in(bytes);
    if (auto read = get_planes(in, format, units, planes); !read) return read;
    if (in.left() != 0) return bad("bytes after the last section");
  } else if (form == kInt8 || form == kInt4) {
    if (auto read = get_quantized(form == kInt8 ? Codec::int8 : Codec::int4, bytes, format, units, planes);
        !read)
      return read;
  } else {
    return bad("form " + std::to_string(form) + " is unknown");
  }
  std::fill(payload.begin(), payload.end(), std::byte{0});
  planes.scatter(format, units, payload.data());
  return {};
}

void seal_units(Codec codec, const UnitFormat& format, std::size_t units, std::span<std::byte> payload) {
  LEADLINE_CHECK(format.valid() && payload.size() == units * format.unit_bytes, "payload of whole units");
  if (!lossy(codec)) return;
  std::vector<std::uint32_t> bits(format.values());
  std::vector<float> values(format.values());
  std::vector<std::uint8_t> codes(format.values());
  for (std::size_t u = 0; u < units; ++u) {
    std::byte* unit = payload.data() + u * format.unit_bytes;
    for (int p = 0; p < 2; ++p) {
      const UnitPlane& plane = p == 0 ? format.k : format.v;
      gather_plane(format, plane, unit, bits.data());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = element_value(format.element, bits[i]);
      each_group(codec, p, format, [&](std::size_t first, std::size_t n, std::size_t stride) {
        GroupScale scale;
        if (quantizer(codec)(format.element, values.data() + first, n, stride, codes.data() + first, scale))
          dequantizer(codec)(format.element, scale, n, stride, codes.data() + first, bits.data() + first);
      });
      scatter_plane(format, plane, bits.data(), unit);
    }
  }
}

}  // namespace leadline::kvstore
