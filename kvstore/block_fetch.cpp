#include "kvstore/block_fetch.h"

#include <algorithm>

namespace leadline::kvstore {

BlockHeader BlockRun::expected(std::size_t key, std::size_t head) const {
  BlockHeader h = shape;
  h.id = {keys[key], heads[head]};
  h.parent = key == 0 ? parent : keys[key - 1];
  h.depth = first_depth + static_cast<std::uint32_t>(key);
  h.first_position = h.depth * h.tokens;
  return h;
}

std::size_t BlockFetch::leading() const {
  std::lock_guard lock(mutex_);
  return run_.heads.empty() ? 0 : leading_ / run_.heads.size();
}

BlockPtr BlockFetch::block(std::size_t key, std::size_t head) const {
  std::lock_guard lock(mutex_);
  return blocks_[key * run_.heads.size() + head];
}

TierKind BlockFetch::tier(std::size_t key) const {
  std::lock_guard lock(mutex_);
  const auto first = tiers_.begin() + static_cast<std::ptrdiff_t>(key * run_.heads.size());
  return *std::max_element(first, first + static_cast<std::ptrdiff_t>(run_.heads.size()));
}

std::array<TierShare, kTierKinds> BlockFetch::shares() const {
  std::lock_guard lock(mutex_);
  return shares_;
}

void BlockFetch::arrived(std::size_t index, BlockPtr block, TierKind tier) {
  std::lock_guard lock(mutex_);
  blocks_[index] = std::move(block);
  tiers_[index] = tier;
  while (leading_ < blocks_.size() && blocks_[leading_] != nullptr) ++leading_;
}

void BlockFetch::read_from(TierKind tier, const TierShare& share) {
  std::lock_guard lock(mutex_);
  TierShare& mine = shares_[static_cast<std::size_t>(tier)];
  mine.blocks += share.blocks;
  mine.bytes += share.bytes;
  mine.seconds += share.seconds;
}

}  // namespace leadline::kvstore
