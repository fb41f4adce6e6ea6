#pragma once
// SequenceCache: the KV of every sequence as the step loop sees it: prefix hits, reservation, commit, swap,
// release. Collects the page moves that the StepPlan must carry. Not a scheduler (it refuses, it never
// chooses) and not device memory. Thread: the step thread of rank 0; other ranks follow the plan.
//
// One step: release, swap_out, swap_in, admit, reserve (in that order) -> take_moves() into the plan ->
// execute
// -> commit.
// Invariants:
//   1. Slots 0..computed()-1 of a sequence hold its tokens in order, with KV of all layers.
//   2. A page enters the prefix index only when all its 16 tokens are committed; a hit ends on a page
//   boundary
//      before the last known token, so at least one token is always run (X6).
//   3. No move of a plan reads what an earlier one overwrote: sources of copies, host slots being read and
//   pages
//      that moves still write stay held until take_moves(). Executing swap_out, swap_in, copies, rows in that
//      order is then safe. Seals are read before all of them, restores written after swap_in.
//   4. Swapped out and in again, a sequence has the same slots with the same bytes, maybe on other pages.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kvstore/block_key.h"
#include "worker/kvcache/block_plan.h"
#include "worker/kvcache/host_pages.h"
#include "worker/kvcache/kv_layout.h"
#include "worker/kvcache/page_pool.h"
#include "worker/kvcache/page_table.h"
#include "worker/kvcache/prefix_index.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

struct SequenceCacheOptions {
  std::uint32_t pages = 0;        // of the device pool
  std::uint32_t host_pages = 0;   // swap slots; 0 = preemption always recomputes
  bool prefix_reuse = true;       // false: nothing enters the index
  std::string model_fingerprint;  // exactness X7
  bool seal_blocks = false;       // committed pages go into the plan as BlockSeals
  // A lossy codec (exactness X5): pages are committed in whole groups of group_tokens, a multiple of 16, and
  // quantised as they are, so every query sees whole groups before its own quantised and its own raw.
  std::string lossy_codec;  // its id, part of every key; "" = none
  std::uint32_t group_tokens = kPageTokens;
};

struct PlanMoves {  // StepPlan's lists, executed in this order
  std::vector<PageId> quantise;
  std::vector<PageSwap> swap_out, swap_in;
  std::vector<PageCopy> copies;
  std::vector<BlockSeal> seals;
  std::vector<BlockRestore> restores;
};

struct PrefixHit {
  std::uint32_t tokens = 0;      // a multiple of 16, less than the known tokens
  std::uint32_t held_pages = 0;  // of its pages, already held by other sequences
  // Beyond the hit: tokens of whole pages that an admitted sequence on the device is about to compute. Who
  // waits for them computes nothing twice.
  std::uint32_t soon_tokens = 0;
  std::uint32_t restored_tokens = 0;  // of the hit: admit put fetched blocks onto fresh pages for them
};

// What a sequence allows for blocks of pages that it computes.
struct KeepWish {
  bool store = true;                 // false: they never leave the device
  std::uint64_t expires_unix_s = 0;  // 0 = never
};

// Blocks that every rank has fetched: pages [first_page, first_page + pages) of the sequence's chain.
struct StagedBlocks {
  std::uint32_t fetch = 0;
  std::uint32_t first_page = 0;
  std::uint32_t pages = 0;
  [[nodiscard]] std::uint32_t end_page() const { return first_page + pages; }
};

struct CacheUsage {  // for metrics and the scheduler
  std::uint32_t pages = 0, used = 0, reusable = 0, free = 0;
  std::uint32_t host_pages = 0, host_free = 0;
  std::uint64_t indexed_pages = 0, evictions = 0;
  [[nodiscard]] std::uint32_t available() const { return free + reusable; }
};

// What a request asks of its pages.
struct CacheRules {
  KeepWish keep;  // may its blocks leave the device
  std::uint32_t longest_hit =
      UINT32_MAX;                // tokens; rows behind it must run, as something reads their queries
  std::string_view compression;  // of the chain (exactness X4, X7); "" = exact KV
};

// Tokens at the front of a table that compression takes out of it. All that have KV, or whole pages.
struct CompressSpan {
  std::uint32_t tokens = 0;
  std::uint32_t bound = 0;  // pages that the result needs at most
  bool own_tail = false;    // what follows is computed from lossy KV that no key names: nobody may share it
};
// Pages that a compression reads and writes; `from` stays held until take_moves().
struct CompressPages {
  std::vector<PageId> from, to;
};

class SequenceCache {
 public:
  explicit SequenceCache(SequenceCacheOptions options);
  ~SequenceCache();

  // A waiting sequence becomes known; holds no page. `known` = prompt and the tokens generated so far; keys
  // are computed once here. REQUIRES: id not known, known not empty.
  void add(SequenceId id, std::span<const std::int32_t> known, const kvstore::TenantSalt& salt,
           const CacheRules& rules = {});
  // What admit would find now. REQUIRES: added, not admitted. Looks only; O(hit pages).
  [[nodiscard]] PrefixHit peek(SequenceId id) const;
  // Keys that a hit may use, in order: whole pages before the last known token. Valid until the next call on
  // this sequence.
  [[nodiscard]] std::span<const kvstore::BlockKey> chain(SequenceId id) const;
  [[nodiscard]] const kvstore::BlockKey& chain_root(SequenceId id) const;
  [[nodiscard]] std::size_t known_tokens(SequenceId id) const;
  // Takes the pages of the longest hit, and goes on with staged blocks where they join it: onto fresh pages,
  // which the plan's restores fill. computed() == hit afterwards. REQUIRES: added, not admitted.
  PrefixHit admit(SequenceId id, const StagedBlocks& staged = {});
  PrefixHit admit(SequenceId id, std::span<const std::int32_t> known, const kvstore::TenantSalt& salt) {
    add(id, known, salt);
    return admit(id);
  }

  // Slots for the next n tokens after computed(), evicting reusable pages where needed. False: not enough
  // pages, nothing changed for this sequence. REQUIRES: admitted, not swapped out, nothing reserved.
  [[nodiscard]] bool reserve(SequenceId id, std::uint32_t n);
  // The first tokens.size() of the reserved slots now have KV in all layers; the rest (rejected drafts, a row
  // not run) is given back. Full pages become reusable for others. Call it after every reserve, with no
  // tokens if the step did not run the sequence. REQUIRES: reserved >= tokens.size(); tokens equal the known
  // ones at their positions.
  void commit(SequenceId id, std::span<const std::int32_t> tokens);

  // The span leaves the table, to be compressed into fresh pages. False: not enough pages, nothing changed.
  // REQUIRES: as reserve; tokens have KV.
  [[nodiscard]] bool begin_compress(SequenceId id, const CompressSpan& span, CompressPages& pages);
  // The plan was executed: the compression, oldest first, uses the first `used` of its pages; the rest is
  // given back.
  void end_compress(SequenceId id, std::uint32_t used);
  [[nodiscard]] std::uint32_t compressed_tokens(SequenceId id) const;  // that are no longer in the table
  [[nodiscard]] std::uint32_t compressed_pages(SequenceId id) const;

  // All pages to host slots. False, too, for a compressed one. False: too few host slots, nothing changed
  // (drop the sequence instead). REQUIRES: admitted, not swapped, nothing reserved, no move of this sequence
  // in the current plan.
  [[nodiscard]] bool swap_out(SequenceId id);
  // Back on the device; committed pages that are still in the index are taken without a copy. False: too few
  // pages.
  [[nodiscard]] bool swap_in(SequenceId id);
  // A second sequence with the same computed tokens on the same pages (several answers to one prompt); the
  // first to write the last page copies it. REQUIRES: `from` admitted, not swapped, nothing reserved.
  void fork(SequenceId from, SequenceId to);
  // Forgets the sequence in any state; its committed pages stay reusable. To preempt by recomputing: release,
  // then add again with all known tokens.
  void release(SequenceId id);

  [[nodiscard]] bool contains(SequenceId id) const { return sequences_.contains(id); }
  [[nodiscard]] bool swapped(SequenceId id) const;
  [[nodiscard]] std::uint32_t computed(SequenceId id) const;  // tokens with KV
  [[nodiscard]] std::uint32_t device_pages(SequenceId id) const;
  [[nodiscard]] std::uint32_t sole_pages(SequenceId id) const;   // that would become available if it went
  [[nodiscard]] std::uint32_t tail_copies(SequenceId id) const;  // 1 if the next reserve copies the last page
  [[nodiscard]] std::uint32_t host_pages(SequenceId id) const;
  // Pages in slot order, reserved ones included: StepPlan's table. Valid until the next call on this
  // sequence.
  [[nodiscard]] std::span<const std::uint32_t> table(SequenceId id) const;
  [[nodiscard]] std::vector<PinnedPage> pin(SequenceId id);  // held by the caller while a step is in flight
  // Rows from computed() on that one step may run: a group ends where what later rows see changes (X5).
  [[nodiscard]] std::uint32_t rows_to_group_end(SequenceId id) const;
  [[nodiscard]] bool has_seals() const { return !moves_.seals.empty() || !moves_.quantise.empty(); }
  [[nodiscard]] PlanMoves take_moves();  // moves since the last call; ends the plan
  [[nodiscard]] CacheUsage usage() const;

 private:
  struct Sequence;
  Sequence& at(SequenceId id);
  [[nodiscard]] const Sequence& at(SequenceId id) const;
  [[nodiscard]] bool make_free(std::uint32_t pages);
  void extend_keys(Sequence& s) const;
  // Pages of whole groups of `tokens` tokens.
  [[nodiscard]] std::uint32_t whole_pages(std::size_t tokens) const {
    return static_cast<std::uint32_t>(tokens / options_.group_tokens * (options_.group_tokens / kPageTokens));
  }
  [[nodiscard]] std::span<const kvstore::BlockKey> usable_keys(const Sequence& s) const;
  bool index_page(Sequence& s, std::uint32_t page);
  std::uint32_t restore_pages(Sequence& s, const StagedBlocks& staged);
  void index_pages(Sequence& s, std::uint32_t first, std::uint32_t last);
  void expect_keys(Sequence& s);
  void forget_keys(Sequence& s, std::uint32_t first, std::uint32_t end);

  // Constant after construction.
  SequenceCacheOptions options_;
  // Owned by the step thread. Order matters: handles below die before the pools above them.
  PagePool pool_;
  HostPages host_;
  PrefixIndex index_;
  std::unordered_map<kvstore::BlockKey, std::uint32_t> expected_;  // block -> sequences that will compute it
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  PlanMoves moves_;
  std::uint64_t plan_ = 1;              // counts take_moves
  std::vector<PageRef> keep_pages_;     // sources of copies, until take_moves()
  std::vector<HostPageRef> keep_host_;  // slots being read, until take_moves()
};

}  // namespace leadline::worker
