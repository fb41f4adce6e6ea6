#include "kvstore/block_packing.h"

#include <algorithm>

namespace leadline::kvstore {

BlockPtr packed(const BlockPacking& packing, BlockDraft draft) {
  const std::size_t units = draft.header().layers;
  if (packing.codec == Codec::none || draft.payload().size() != units * packing.format.unit_bytes)
    return std::move(draft).seal();
  const std::vector<std::byte> bytes = encode_units(packing.codec, packing.format, units, draft.payload());
  BlockHeader header = draft.header();
  header.codec = static_cast<std::uint8_t>(packing.codec);
  header.raw_bytes = draft.payload().size();
  BlockDraft small(std::move(header), bytes.size());
  std::copy(bytes.begin(), bytes.end(), small.payload().begin());
  return std::move(small).seal();
}

BlockPtr unpacked(const BlockPacking& packing, const BlockPtr& block) {
  if (block->header().codec == 0) return block;
  BlockHeader header = block->header();
  const std::size_t units = header.layers;
  if (header.codec >= std::size(kCodecNames) || header.raw_bytes != units * packing.format.unit_bytes)
    return nullptr;
  const auto codec = static_cast<Codec>(header.codec);
  header.codec = 0;
  BlockDraft whole(std::move(header), units * packing.format.unit_bytes);
  if (!decode_units(codec, packing.format, units, block->payload(), whole.payload())) return nullptr;
  return std::move(whole).seal();
}

}  // namespace leadline::kvstore
