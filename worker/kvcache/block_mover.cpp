#include "worker/kvcache/block_mover.h"

#include <string>

namespace leadline::worker {
namespace {

tl::unexpected<Error> bad_plan(std::string_view what, std::uint64_t value) {
  return monitoring::fail(Errc::configuration,
                          "step plan: " + std::string(what) + " " + std::to_string(value));
}

}  // namespace

BlockMover::BlockMover(Backend& backend, KvPool& pool, kvstore::TieredStore& store, BlockGeometry geometry)
    : backend_(backend),
      pool_(pool),
      store_(store),
      geometry_(std::move(geometry)),
      payload_bytes_(geometry_.layers * static_cast<std::uint64_t>(pool.unit_bytes())) {}

kvstore::BlockHeader BlockMover::shape() const {
  kvstore::BlockHeader h;
  h.tokens = h.slots = kPageTokens;
  h.layers = static_cast<std::uint16_t>(geometry_.layers);
  h.head_dim = static_cast<std::uint16_t>(geometry_.head_dim);
  h.dtype = static_cast<std::uint8_t>(pool_.dtype());
  h.raw_bytes = payload_bytes_;
  h.fingerprint = geometry_.fingerprint;
  h.layout = geometry_.layout;
  return h;
}

// The units of one local head on a page, first layer first: a block's payload is these, end to end.
void BlockMover::list_units(PageId page, std::uint32_t head) {
  units_.clear();
  const std::uint32_t heads = geometry_.local_kv_heads;
  for (std::uint32_t layer = 0; layer < geometry_.layers; ++layer)
    units_.push_back((page.value * geometry_.layers + layer) * heads + head);
}

void BlockMover::seal(const BlockSeal& seal) {
  for (std::uint32_t head = 0; head < geometry_.local_kv_heads; ++head) {
    kvstore::BlockHeader h = shape();
    h.id = {seal.key, static_cast<std::uint16_t>(geometry_.first_kv_head + head)};
    h.parent = seal.parent;
    h.depth = seal.depth;
    h.first_position = seal.depth * kPageTokens;
    h.expires_unix_s = seal.expires_unix_s;
    kvstore::BlockDraft draft(std::move(h), payload_bytes_);
    list_units(seal.page, head);
    backend_.read_units(pool_, units_, draft.payload().data());
    store_.put(std::move(draft));
  }
}

Result<void> BlockMover::begin(const BlockPlan& plan) {
  if (plan.page_us > 0) store_.learn_cost(plan.page_us * 1e-6, plan.page_growth_ns * 1e-9);
  for (const BlockSeal& s : plan.seals) {
    if (s.page.value >= geometry_.pages) return bad_plan("sealed page", s.page.value);
    seal(s);
  }
  for (const BlockFetchStart& start : plan.starts) {
    kvstore::BlockRun run;
    run.shape = shape();
    run.keys = start.keys;
    run.parent = start.parent;
    run.first_depth = start.first_depth;
    for (std::uint32_t head = 0; head < geometry_.local_kv_heads; ++head)
      run.heads.push_back(static_cast<std::uint16_t>(geometry_.first_kv_head + head));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(start.deadline_us);
    fetches_[start.fetch] = store_.fetch(std::move(run), deadline);
  }
  return {};
}

Result<void> BlockMover::restore(const BlockPlan& plan) {
  for (const BlockRestore& r : plan.restores) {
    const kvstore::BlockFetchPtr fetch = find(r.fetch);
    if (fetch == nullptr || r.index >= fetch->leading()) return bad_plan("restored block", r.index);
    if (r.page.value >= geometry_.pages) return bad_plan("restored page", r.page.value);
    for (std::uint32_t head = 0; head < geometry_.local_kv_heads; ++head) {
      const kvstore::BlockPtr block = fetch->block(r.index, head);
      if (block->payload().size() != payload_bytes_)
        return bad_plan("restored bytes", block->payload().size());
      list_units(r.page, head);
      backend_.write_units(pool_, units_, block->payload().data());
    }
  }
  return {};
}

std::vector<BlockPoll> BlockMover::poll(std::span<const std::uint32_t> fetches) const {
  std::vector<BlockPoll> polls;
  const auto now = std::chrono::steady_clock::now();
  for (const std::uint32_t number : fetches) {
    const kvstore::BlockFetchPtr fetch = find(number);
    if (fetch == nullptr) {
      polls.push_back({0, 1});
      continue;
    }
    const bool finished = fetch->finished() || now >= fetch->deadline();
    polls.push_back({static_cast<std::uint32_t>(fetch->leading()), finished ? 1U : 0U});
  }
  return polls;
}

void BlockMover::drop(std::span<const std::uint32_t> fetches) {
  for (const std::uint32_t number : fetches) {
    const auto it = fetches_.find(number);
    if (it == fetches_.end()) continue;
    it->second->abandon();
    fetches_.erase(it);
  }
}

kvstore::BlockFetchPtr BlockMover::find(std::uint32_t fetch) const {
  const auto it = fetches_.find(fetch);
  return it == fetches_.end() ? nullptr : it->second;
}

}  // namespace leadline::worker
