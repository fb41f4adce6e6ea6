#include "policy/eviction_ranker.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "monitoring/error.h"

namespace leadline::policy {
namespace {

constexpr char kMagic[8] = {'L', 'E', 'V', 'R', 'A', 'N', 'K', 1};
constexpr std::size_t kMaxProvenance = 4096;
constexpr std::size_t kHead = 8 + 8 + 8 + 4;  // magic, checksum, schema, provenance length

std::uint64_t fnv(std::span<const std::byte> bytes) {
  std::uint64_t h = 0xCBF29CE484222325ULL;
  for (std::byte b : bytes) h = (h ^ static_cast<std::uint8_t>(b)) * 0x100000001B3ULL;
  return h;
}

template <typename Use>
void each_part(EvictionNetwork& n, Use&& use) {
  use(std::span<float>(n.mean));
  use(std::span<float>(n.deviation));
  use(std::span<float>(n.w1));
  use(std::span<float>(n.b1));
  use(std::span<float>(n.w2));
  use(std::span<float>(n.b2));
  use(std::span<float>(n.w3));
  use(std::span<float>(&n.b3, 1));
  use(std::span<float>(&n.horizon_s, 1));
}

std::size_t network_bytes() {
  EvictionNetwork n;
  std::size_t bytes = 0;
  each_part(n, [&](std::span<float> part) { bytes += part.size_bytes(); });
  return bytes;
}

tl::unexpected<Error> bad(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, "eviction ranker: " + what);
}

}  // namespace

std::uint64_t eviction_schema_hash() {
  std::string names = "log1p;6-16-16-1";
  for (const char* name : kEvictionFeatureNames) names += std::string(";") + name;
  return fnv(std::as_bytes(std::span(names)));
}

float EvictionRanker::predict(const EvictionFeatures& features) const {
  const EvictionNetwork& n = network_;
  std::array<float, kEvictionFeatures> x{};
  std::array<float, EvictionNetwork::kHidden> h1{}, h2{};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float log = std::log1p(std::max(features[i], 0.0F));
    x[i] = std::clamp((log - n.mean[i]) / n.deviation[i], -5.0F, 5.0F);
  }
  for (std::size_t j = 0; j < h1.size(); ++j) {
    float sum = n.b1[j];
    for (std::size_t i = 0; i < x.size(); ++i) sum += n.w1[j * x.size() + i] * x[i];
    h1[j] = std::max(sum, 0.0F);
  }
  float out = n.b3;
  for (std::size_t j = 0; j < h2.size(); ++j) {
    float sum = n.b2[j];
    for (std::size_t i = 0; i < h1.size(); ++i) sum += n.w2[j * h1.size() + i] * h1[i];
    h2[j] = std::max(sum, 0.0F);
    out += n.w3[j] * h2[j];
  }
  const float top = std::log1p(n.horizon_s);
  return std::max(std::expm1(std::clamp(out, 0.0F, top)), 1e-3F);
}

std::vector<std::byte> EvictionRanker::to_bytes() const {
  const std::string text = provenance_.substr(0, kMaxProvenance);
  std::vector<std::byte> out(kHead);
  const std::uint64_t schema = eviction_schema_hash();
  const auto length = static_cast<std::uint32_t>(text.size());
  std::memcpy(out.data(), kMagic, 8);
  std::memcpy(out.data() + 16, &schema, 8);
  std::memcpy(out.data() + 24, &length, 4);
  const auto append = [&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(text)));
  EvictionNetwork copy = network_;
  each_part(copy, [&](std::span<float> part) { append(std::as_bytes(part)); });
  const std::uint64_t sum = fnv(std::span(out).subspan(16));
  std::memcpy(out.data() + 8, &sum, 8);
  return out;
}

Result<EvictionRanker> EvictionRanker::from_bytes(std::span<const std::byte> bytes) {
  if (bytes.size() < kHead || std::memcmp(bytes.data(), kMagic, 8) != 0)
    return bad("not one, or of another version");
  std::uint64_t sum = 0, schema = 0;
  std::uint32_t length = 0;
  std::memcpy(&sum, bytes.data() + 8, 8);
  std::memcpy(&schema, bytes.data() + 16, 8);
  std::memcpy(&length, bytes.data() + 24, 4);
  if (sum != fnv(bytes.subspan(16))) return bad("checksum");
  if (schema != eviction_schema_hash())
    return monitoring::fail(Errc::schema_mismatch, "eviction ranker: made for other features");
  if (length > kMaxProvenance || bytes.size() != kHead + length + network_bytes()) return bad("length");
  std::string text(length, '\0');
  if (length != 0) std::memcpy(text.data(), bytes.data() + kHead, length);
  EvictionNetwork network;
  const std::byte* at = bytes.data() + kHead + length;
  bool finite = true;
  each_part(network, [&](std::span<float> part) {
    std::memcpy(part.data(), at, part.size_bytes());
    at += part.size_bytes();
    for (float value : part) finite = finite && std::isfinite(value) && std::fabs(value) < 1e9F;
  });
  if (!finite) return bad("a number that is not finite or too large");
  for (float d : network.deviation)
    if (!(d >= 1e-6F)) return bad("deviation must be positive");
  if (!(network.horizon_s > 0)) return bad("horizon_s must be positive");
  return EvictionRanker(network, std::move(text));
}

Result<EvictionRanker> EvictionRanker::load(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return monitoring::fail(Errc::io, "eviction ranker " + path + " cannot be read");
  std::string text(kHead + kMaxProvenance + network_bytes() + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  return from_bytes(std::as_bytes(std::span(text)).first(static_cast<std::size_t>(in.gcount())));
}

Result<void> EvictionRanker::save(const std::string& path) const {
  const std::vector<std::byte> bytes = to_bytes();
  const std::string part = path + ".part";
  {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) return monitoring::fail(Errc::io, "eviction ranker " + part + " cannot be written");
  }
  if (std::rename(part.c_str(), path.c_str()) != 0)
    return monitoring::fail(Errc::io, "eviction ranker " + path + " cannot be replaced");
  return {};
}

}  // namespace leadline::policy
