#include "worker/kvcache/unit_codec.h"

#include "worker/backend/cpu/device_memory.h"

namespace leadline::worker {
namespace {

std::optional<kvstore::UnitFormat> format_of(const KvPool& pool) {
  const auto* host = dynamic_cast<const cpu::CpuKvPool*>(&pool);
  if (host == nullptr) return std::nullopt;
  const cpu::UnitLayout& layout = host->layout();
  if (layout.format != cpu::kF32 && layout.format != cpu::kBf16 && layout.format != cpu::kF16)
    return std::nullopt;
  const auto format = kvstore::transposed_keys_format(
      static_cast<kvstore::Element>(layout.format), cpu::kPageSlots,
      static_cast<std::uint32_t>(layout.head_dim), static_cast<std::uint32_t>(layout.padded_dim),
      static_cast<std::uint64_t>(layout.v_offset), static_cast<std::uint64_t>(layout.unit_bytes));
  return format.valid() ? std::optional(format) : std::nullopt;
}

}  // namespace

Result<UnitCodec> UnitCodec::of(const KvPool& pool, kvstore::Codec codec) {
  const auto format = format_of(pool);
  if (!format && kvstore::lossy(codec))
    return monitoring::fail(Errc::configuration,
                            "--kv-codec " +
                                std::string(kvstore::kCodecNames[static_cast<std::size_t>(codec)]) +
                                ": not for pages of " + std::string(transport::name_of(pool.dtype())) +
                                " on this device; use none");
  return UnitCodec(codec, format, static_cast<std::size_t>(pool.unit_bytes()));
}

std::string UnitCodec::chain_id(kvstore::Codec codec) {
  if (!kvstore::lossy(codec)) return "";
  return std::string(kvstore::lossy_codec_id(codec)) + "@" + std::to_string(kGroupTokens);
}

void UnitCodec::seal(std::span<std::byte> units) const {
  if (format_) kvstore::seal_units(codec_, *format_, units.size() / unit_bytes_, units);
}

}  // namespace leadline::worker
