#pragma once
// BlockMover: pages <-> blocks of kvstore, on every rank: the only file that knows both. Does what a
// BlockPlan says: copies pages into blocks and posts them to the store, starts fetches, says how far they
// are, copies fetched blocks onto pages. Not a decision maker and never waiting for I/O: the store's threads
// do that. Thread: the step thread. Invariants: a rank seals and fetches its own KV heads, named by their
// number within the model, so workers of other rank counts use the same blocks; what restore() writes was
// checked against the header that these very pages would have.

#include <span>
#include <unordered_map>

#include "kvstore/tiered_store.h"
#include "worker/backend/backend.h"
#include "worker/kvcache/block_plan.h"

namespace leadline::worker {

struct BlockGeometry {
  std::uint32_t layers = 0;
  std::uint32_t local_kv_heads = 0;
  std::uint32_t first_kv_head = 0;  // of this rank, within the model
  std::uint32_t pages = 0;
  std::uint32_t head_dim = 0;
  std::string fingerprint;  // exactness X7
  std::string layout;       // of a unit: the backend's name
};

class BlockMover {
 public:
  BlockMover(Backend& backend, KvPool& pool, kvstore::TieredStore& store, BlockGeometry geometry);

  // Before anything of the plan writes pages. configuration: a page that this rank does not have.
  Result<void> begin(const BlockPlan& plan);
  Result<void> restore(const BlockPlan& plan);
  [[nodiscard]] std::vector<BlockPoll> poll(std::span<const std::uint32_t> fetches) const;
  void drop(std::span<const std::uint32_t> fetches);

  // Null: not begun, or dropped.
  [[nodiscard]] kvstore::BlockFetchPtr find(std::uint32_t fetch) const;
  [[nodiscard]] std::uint64_t payload_bytes() const { return payload_bytes_; }  // of one block

 private:
  [[nodiscard]] kvstore::BlockHeader shape() const;
  void seal(const BlockSeal& seal);
  void list_units(PageId page, std::uint32_t head);

  Backend& backend_;
  KvPool& pool_;
  kvstore::TieredStore& store_;
  const BlockGeometry geometry_;
  const std::uint64_t payload_bytes_;
  std::unordered_map<std::uint32_t, kvstore::BlockFetchPtr> fetches_;
  std::vector<std::uint32_t> units_;  // scratch
};

}  // namespace leadline::worker
