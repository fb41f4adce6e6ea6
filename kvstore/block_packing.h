#pragma once
// BlockPacking: blocks under a codec at rest: the payload is encoded before a block is sealed for the tiers
// and decoded when it is read back. Not the codec (kvstore/codec) and not where a lossy one loses (exactness
// X5: the page itself, before it comes here). Thread: any; a value. Invariant: unpacked(packed(b)) has b's
// header and payload, bit for bit; a payload that does not decode is no block.

#include "kvstore/block.h"
#include "kvstore/codec/block_codec.h"

namespace leadline::kvstore {

struct BlockPacking {
  Codec codec = Codec::lossless;
  UnitFormat format;  // of a payload's units, one per layer
};

// Sealed for the tiers.
[[nodiscard]] BlockPtr packed(const BlockPacking& packing, BlockDraft draft);
// As it was before packed(); itself if it was not encoded; null if its bytes are not of this codec.
[[nodiscard]] BlockPtr unpacked(const BlockPacking& packing, const BlockPtr& block);

}  // namespace leadline::kvstore
