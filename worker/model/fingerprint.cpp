#include "worker/model/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <vector>

namespace leadline::worker {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{16} << 20;

std::string config_text(const ModelConfig& c) {
  std::ostringstream out;
  out.precision(17);
  out << c.family << ' ' << c.hidden << ' ' << c.ffn << ' ' << c.layers << ' ' << c.query_heads << ' '
      << c.kv_heads << ' ' << c.head_dim << ' ' << c.vocab << ' ' << c.rms_eps << ' ' << c.rope_theta << ' '
      << static_cast<int>(c.rope_scaling) << ' ' << c.rope_factor << ' ' << c.rope_low_freq_factor << ' '
      << c.rope_high_freq_factor << ' ' << c.rope_original_positions << ' ' << c.tied_head << c.qkv_bias
      << c.o_bias << c.mlp_bias << c.qk_norm << ' ' << c.sliding_window << ' ';
  for (std::int32_t i = 0; i < c.layers; ++i) out << (c.window_of(i) > 0);
  return out.str();
}

std::string table_text(const WeightFile& file) {
  std::ostringstream out;
  for (const auto& [name, tensor] : file.tensors()) {
    out << name << ' ' << tensor.dtype_name;
    for (const std::int64_t dim : tensor.shape) out << ' ' << dim;
    out << '\n';
  }
  return out.str();
}

std::vector<std::span<const std::byte>> chunks(const WeightFile& file) {
  std::vector<std::span<const std::byte>> out;
  for (const auto& [name, tensor] : file.tensors()) {
    for (std::size_t at = 0; at < tensor.bytes.size(); at += kChunkBytes)
      out.push_back(tensor.bytes.subspan(at, std::min(kChunkBytes, tensor.bytes.size() - at)));
  }
  return out;
}

std::string hex_of(const std::string& text) {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(text.data(), text.size()));
  std::string hex;
  for (const unsigned char byte : digest.digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace

Result<CheckpointDigests> checkpoint_digests(const WeightFile& file, CheckpointDigests known,
                                             transport::Communicator& ranks) {
  const auto parts = chunks(file);
  const auto size = static_cast<std::size_t>(ranks.size());
  const auto gather = [&](auto& mine, auto& all) -> Result<void> {
    auto gathered =
        ranks.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), nullptr);
    if (gathered) return {};
    return monitoring::fail(Errc::rank_lost, gathered.error().message);
  };
  const bool complete = known.size() == 2 * parts.size();
  std::vector<XXH128_hash_t> vote(1), votes(size);
  if (complete) vote[0] = XXH3_128bits(known.data(), known.size() * sizeof known[0]);
  if (auto gathered = gather(vote, votes); !gathered) return tl::unexpected(gathered.error());
  const bool agreed = std::all_of(votes.begin(), votes.end(),
                                  [&](const XXH128_hash_t& v) { return XXH128_isEqual(v, votes[0]) != 0; });
  if (agreed && complete) return known;

  const std::size_t each = (parts.size() + size - 1) / size;
  std::vector<XXH128_canonical_t> mine(each), all(each * size);
  for (std::size_t i = 0; i < each; ++i) {
    const std::size_t chunk = i * size + static_cast<std::size_t>(ranks.rank());
    const auto bytes = chunk < parts.size() ? parts[chunk] : std::span<const std::byte>();
    XXH128_canonicalFromHash(&mine[i], XXH3_128bits(bytes.data(), bytes.size()));
  }
  if (auto gathered = gather(mine, all); !gathered) return tl::unexpected(gathered.error());
  CheckpointDigests digests(2 * parts.size());
  for (std::size_t chunk = 0; chunk < parts.size(); ++chunk)  // back into the order of the file
    std::memcpy(&digests[2 * chunk], all[chunk % size * each + chunk / size].digest, 16);
  return digests;
}

ModelFingerprints model_fingerprints(const ModelConfig& config, const WeightFile& file,
                                     const std::string& formats, const CheckpointDigests& digests) {
  const std::string head = "leadline model 1\n" + config_text(config) + "\n" + table_text(file);
  const std::string bytes(reinterpret_cast<const char*>(digests.data()), digests.size() * sizeof digests[0]);
  return {hex_of(head + formats + "\n" + bytes), hex_of(head + "\n" + bytes)};
}

std::string model_outline(const ModelConfig& config, const WeightFile& file) {
  return hex_of(config_text(config) + "\n" + table_text(file));
}

}  // namespace leadline::worker
