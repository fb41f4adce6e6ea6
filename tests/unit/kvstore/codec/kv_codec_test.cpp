// Round trips bit for bit, error bounds of sealing, sealed pages that encode small, awkward shapes, damage.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kvstore/codec/block_codec.h"
#include "kvstore/codec/element_values.h"

namespace leadline::kvstore {
namespace {

UnitFormat format_of(Element e, std::uint32_t slots, std::uint32_t dim) {
  const std::uint32_t padded = (dim + 15) / 16 * 16;
  const std::uint64_t v_offset = std::uint64_t{dim} * slots * element_bytes(e);
  const std::uint64_t bytes = v_offset + std::uint64_t{slots} * padded * element_bytes(e);
  return transposed_keys_format(e, slots, dim, padded, (v_offset + 63) / 64 * 64, (bytes + 127) / 64 * 64);
}

// KV as models have it: channels with offsets and spreads of their own, tokens near each other.
std::vector<std::byte> kv_like(const UnitFormat& f, std::size_t units, std::uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<std::byte> payload(units * f.unit_bytes);
  std::vector<std::uint32_t> bits(f.values());
  for (std::size_t u = 0; u < units; ++u)
    for (const UnitPlane* plane : {&f.k, &f.v}) {
      std::vector<float> offset(f.head_dim), spread(f.head_dim);
      for (std::uint32_t d = 0; d < f.head_dim; ++d) {
        offset[d] = plane == &f.k ? 3 * normal(rng) * static_cast<float>(d % 7 == 0) : 0.1F * normal(rng);
        spread[d] = std::exp(normal(rng)) * (plane == &f.k && d % 16 == 3 ? 8.0F : 1.0F);
      }
      for (std::size_t i = 0; i < bits.size(); ++i)
        bits[i] = element_bits(f.element, offset[i % f.head_dim] + spread[i % f.head_dim] * normal(rng));
      scatter_plane(f, *plane, bits.data(), payload.data() + u * f.unit_bytes);
    }
  return payload;
}

void expect_round_trip(Codec codec, const UnitFormat& f, std::size_t units,
                       std::span<const std::byte> payload, const std::string& what) {
  for (bool entropy : {true, false}) {
    const auto encoded = encode_units(codec, f, units, payload, entropy);
    std::vector<std::byte> again(payload.size(), std::byte{0xA5});
    const auto decoded = decode_units(codec, f, units, encoded, again);
    ASSERT_TRUE(decoded.has_value()) << what << ": " << decoded.error().message;
    ASSERT_TRUE(std::equal(again.begin(), again.end(), payload.begin())) << what;
    ASSERT_LE(encoded.size(), payload.size() + 1) << what;
  }
}

constexpr Codec kCodecs[] = {Codec::none, Codec::lossless, Codec::int8, Codec::int4};
constexpr Element kElements[] = {Element::f32, Element::bf16, Element::f16};

TEST(ElementValues, EveryHalfComesBackAndRoundingIsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float f16 = f16_value(bits), bf16 = bf16_value(bits);
    if (!std::isnan(f16)) {
      ASSERT_EQ(f16_bits(f16), bits);
    }
    if (!std::isnan(bf16)) {
      ASSERT_EQ(bf16_bits(bf16), bits);
    }
    ASSERT_EQ(std::isnan(f16), (bits & 0x7FFF) > 0x7C00);
  }
  std::mt19937 rng(1);
  for (int i = 0; i < 200'000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(rng()));
    if (!std::isfinite(x)) continue;
    for (const auto& [value, bits] : {std::pair{&f16_value, f16_bits(x)}, {&bf16_value, bf16_bits(x)}}) {
      const float rounded = value(bits);
      if (!std::isfinite(rounded)) continue;
      for (std::uint32_t near : {bits - 1, bits + 1}) {
        const float other = value(near & 0xFFFF);
        if (!std::isfinite(other)) continue;
        const double mine = std::fabs(double{x} - rounded), theirs = std::fabs(double{x} - other);
        ASSERT_TRUE(mine < theirs || (mine == theirs && (bits % 2 == 0 || rounded == other))) << x;
      }
    }
  }
}

TEST(BlockCodec, GivesBackEveryBitWhateverTheShape) {
  for (Element e : kElements)
    for (auto [slots, dim, units] : {std::array<std::uint32_t, 3>{16, 64, 12},
                                     {16, 128, 3},
                                     {16, 1, 1},
                                     {1, 8, 2},
                                     {16, 33, 2},
                                     {5, 80, 4},
                                     {256, 7, 1},
                                     {16, 48, 0}})
      for (Codec codec : kCodecs) {
        const UnitFormat f = format_of(e, slots, dim);
        ASSERT_TRUE(f.valid());
        const auto payload = kv_like(f, units, slots * 1000 + dim);
        expect_round_trip(codec, f, units, payload, std::string(kCodecNames[static_cast<int>(codec)]));
        auto sealed = payload;
        seal_units(codec, f, units, sealed);
        expect_round_trip(codec, f, units, sealed, "sealed");
      }
}

TEST(BlockCodec, GivesBackEveryBitWhateverTheContents) {
  std::mt19937 rng(11);
  for (Element e : kElements) {
    const UnitFormat f = format_of(e, 16, 40);
    const std::size_t n = 2 * f.unit_bytes;
    std::vector<std::vector<std::byte>> payloads(8, std::vector<std::byte>(n));
    for (auto& b : payloads[1]) b = static_cast<std::byte>(rng());  // padding included
    for (auto& b : payloads[2]) b = std::byte{0xFF};                // NaN
    for (auto& b : payloads[3]) b = std::byte{0x7F};                // huge or NaN
    std::vector<std::uint32_t> bits(f.values());
    const auto fill = [&](std::vector<std::byte>& payload, auto&& value) {
      for (std::size_t u = 0; u < 2; ++u)
        for (const UnitPlane* plane : {&f.k, &f.v}) {
          for (auto& b : bits) b = element_bits(e, value());
          scatter_plane(f, *plane, bits.data(), payload.data() + u * f.unit_bytes);
        }
    };
    fill(payloads[4], [&] { return rng() % 50 == 0 ? INFINITY : 1.0F; });
    fill(payloads[5], [&] { return rng() % 2 ? 1e-40F : -1e-42F; });  // subnormal
    fill(payloads[6], [&] { return rng() % 2 ? 3e38F : -3e38F; });    // range overflows
    fill(payloads[7], [&] { return -0.0F; });
    for (std::size_t i = 0; i < payloads.size(); ++i)
      for (Codec codec : kCodecs) {
        expect_round_trip(codec, f, 2, payloads[i], std::to_string(i));
        auto sealed = payloads[i];
        seal_units(codec, f, 2, sealed);
        expect_round_trip(codec, f, 2, sealed, "sealed " + std::to_string(i));
      }
  }
}

double ulp(Element e, double x) {
  const int digits = e == Element::f32 ? 23 : e == Element::bf16 ? 7 : 10;
  const int least = e == Element::f16 ? -14 : -126;
  return std::ldexp(1.0, std::max(x == 0 ? least : std::ilogb(x), least) - digits);
}

// |x - x'| <= s / 2 + ulp / 2, where s is the group's step; for int4 the top code also carries the rounding
// of the scale (15 / 256 of a step).
TEST(SealUnits, KeepsItsErrorBounds) {
  for (Element e : kElements)
    for (Codec codec : {Codec::int8, Codec::int4})
      for (std::uint32_t dim : {64U, 33U}) {
        const UnitFormat f = format_of(e, 16, dim);
        const auto before = kv_like(f, 4, dim);
        auto after = before;
        seal_units(codec, f, 4, after);
        std::vector<std::uint32_t> b(f.values()), a(f.values());
        double worst = 0;
        for (std::size_t u = 0; u < 4; ++u)
          for (int p = 0; p < 2; ++p) {
            gather_plane(f, p ? f.v : f.k, before.data() + u * f.unit_bytes, b.data());
            gather_plane(f, p ? f.v : f.k, after.data() + u * f.unit_bytes, a.data());
            const auto value = [&](const auto& bits, std::size_t i) {
              return double{element_value(e, bits[i])};
            };
            for (std::uint32_t s = 0; s < 16; ++s)
              for (std::uint32_t d = 0; d < dim; ++d) {
                double low = 1e300, high = -1e300, largest = 0;
                const auto see = [&](std::uint32_t slot, std::uint32_t channel) {
                  const double x = value(b, std::size_t{slot} * dim + channel);
                  low = std::min(low, x), high = std::max(high, x), largest = std::max(largest, std::fabs(x));
                };
                if (codec == Codec::int8)
                  for (std::uint32_t c = 0; c < dim; ++c) see(s, c);
                else if (p == 0)
                  for (std::uint32_t t = 0; t < 16; ++t) see(t, d);
                else
                  for (std::uint32_t c = d / 32 * 32; c < std::min(d / 32 * 32 + 32, dim); ++c) see(s, c);
                const double step =
                    (codec == Codec::int8 ? largest / 127 : (high - low) / 15) * (1 + 1.0 / 256);
                const double slack = codec == Codec::int8 ? 0 : 15.0 / 256;
                const double x = value(b, std::size_t{s} * dim + d), y = value(a, std::size_t{s} * dim + d);
                const double bound = step * (0.5 + slack) + ulp(e, y) / 2 + step * 1e-5;
                ASSERT_LE(std::fabs(x - y), bound) << "plane " << p << " slot " << s << " channel " << d;
                worst = std::max(worst, std::fabs(x - y) / step);
              }
          }
        EXPECT_GT(worst, 0.3) << "the bound is not met by doing nothing";
      }
}

// What was sealed is described by codes alone, with next to no corrections: so the blocks of sealed pages are
// small.
TEST(BlockCodec, SealedPagesEncodeSmall) {
  for (Element e : kElements) {
    const UnitFormat f = format_of(e, 16, 64);
    auto payload = kv_like(f, 24, 9);
    const double values = 24.0 * 2 * 16 * 64;
    for (Codec codec : {Codec::int8, Codec::int4}) {
      auto sealed = payload;
      seal_units(codec, f, 24, sealed);
      const double zero_bits = e == Element::f32 ? 32 : 16;
      // int8: 8 + 16/64; int4: K 4 + (16 + zero)/16, V 4 + (16 + zero)/32.
      const double bits = codec == Codec::int8 ? 8.25 : 4 + (16 + zero_bits) * (1.0 / 16 + 1.0 / 32) / 2;
      const auto plain = encode_units(codec, f, 24, sealed, false);
      EXPECT_LT(static_cast<double>(plain.size()) * 8 / values, bits * 1.03) << static_cast<int>(e);
      EXPECT_LE(encode_units(codec, f, 24, sealed).size(), plain.size());
    }
  }
}

TEST(SealUnits, LosslessCodecsChangeNothing) {
  const UnitFormat f = format_of(Element::bf16, 16, 64);
  const auto payload = kv_like(f, 2, 1);
  for (Codec codec : {Codec::none, Codec::lossless}) {
    auto sealed = payload;
    seal_units(codec, f, 2, sealed);
    EXPECT_EQ(sealed, payload);
    EXPECT_EQ(lossy_codec_id(codec), "");
  }
  EXPECT_NE(lossy_codec_id(Codec::int4), lossy_codec_id(Codec::int8));
}

TEST(BlockCodec, LosslessIsSmallerThanThePages) {
  const UnitFormat f = format_of(Element::bf16, 16, 64);
  const auto payload = kv_like(f, 12, 4);
  const auto encoded = encode_units(Codec::lossless, f, 12, payload);
  EXPECT_LT(static_cast<double>(encoded.size()), 0.8 * static_cast<double>(payload.size()));
}

TEST(BlockCodec, DamageIsRefusedOrHarmless) {
  const UnitFormat f = format_of(Element::bf16, 16, 32);
  auto payload = kv_like(f, 2, 6);
  seal_units(Codec::int4, f, 2, payload);
  for (Codec codec : {Codec::lossless, Codec::int8, Codec::int4}) {
    const auto encoded = encode_units(codec, f, 2, payload);
    std::vector<std::byte> out(payload.size());
    for (std::size_t n = 0; n < encoded.size(); ++n) {
      const auto cut = decode_units(codec, f, 2, std::span<const std::byte>(encoded).first(n), out);
      ASSERT_FALSE(cut.has_value()) << n;
      ASSERT_EQ(cut.error().code, Errc::malformed);
    }
    auto longer = encoded;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_units(codec, f, 2, longer, out).has_value());
    // The same bytes for another shape.
    const UnitFormat other = format_of(Element::f16, 16, 64);
    std::vector<std::byte> foreign(2 * other.unit_bytes);
    EXPECT_FALSE(decode_units(codec, other, 2, encoded, foreign).has_value());
  }
}

TEST(BlockCodec, NamesComeBack) {
  for (Codec codec : kCodecs) EXPECT_EQ(codec_named(kCodecNames[static_cast<int>(codec)]), codec);
  EXPECT_FALSE(codec_named("int3").has_value());
}

}  // namespace
}  // namespace leadline::kvstore
