#pragma once
// StepExecutor: the same code on every rank: a StepPlan in, page moves, draft passes and one combined pass
// done, logits out (whole on rank 0 only). Not a decision maker: it looks at nothing but the plan and, while
// rounds draft, at what rank 0's chooser told all ranks. Thread: the step thread. Borrows backend,
// transformer and pool; owns this rank's host swap buffer. Invariant: for one plan every rank calls the same
// collectives in the same order (trap T11).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/backend/backend.h"
#include "worker/compression/compressor.h"
#include "worker/kvcache/block_mover.h"
#include "worker/kvcache/unit_codec.h"
#include "worker/model/transformer.h"
#include "worker/scheduler/step_plan.h"
#include "worker/speculative/draft_group.h"
#include "worker/speculative/drafter.h"
#include "worker/speculative/verifier.h"

namespace leadline::worker {

struct PageGeometry {
  std::uint32_t layers = 0;
  std::uint32_t local_kv_heads = 0;
  std::uint32_t pages = 0;       // device pages; units = pages * layers * local_kv_heads
  std::uint32_t host_pages = 0;  // swap slots
  [[nodiscard]] std::uint32_t units_per_page() const { return layers * local_kv_heads; }
};

struct StepResult {
  ConstFloatMatrix logits;              // [logit rows, vocab], rank 0 only; valid until the next step
  bool logits_on_device = false;        // they are device memory, for TokenChooser
  std::vector<std::int32_t> first_row;  // per sequence of the plan: its first row in logits, -1 = none wanted
  std::vector<DraftedRound> rounds;     // per sequence of the plan: what its round ran; no inputs without one
  std::vector<CompressOutcome> compressed;  // of the plan's compressions, in order
  std::uint64_t moves_us = 0, draft_us = 0, forward_us = 0;
  std::vector<BlockPoll> polled;  // of the plan's polls: the least over all ranks
};

class StepExecutor {
 public:
  // compressor: null where no sequence is compressed; outlives the executor.
  StepExecutor(Backend& backend, Transformer& transformer, KvPool& pool, PageGeometry geometry,
               transport::Communicator& ranks, Compressor* compressor = nullptr);

  // Before the first plan with blocks; both outlive this.
  void use_blocks(BlockMover& mover, transport::Communicator& ranks) {
    mover_ = &mover;
    ranks_ = &ranks;
  }

  // Rounds draft there instead of on all ranks; its pages move with this rank's. Before the first step.
  void use_draft_group(DraftGroup* group);
  // Before the first plan that quantises; outlives this.
  void use_codec(const UnitCodec& codec) { codec_ = &codec; }

  // Before the first plan with shadows: the slots that the transformer keeps for them.
  void use_exits(ShadowSlots slots);

  // rank_lost from a collective; configuration if the plan names pages or layers that this rank does not
  // have. REQUIRES on rank 0, for a plan with rounds: a chooser.
  Result<StepResult> execute(const StepPlan& plan, DraftChooser* chooser = nullptr);
  [[nodiscard]] Backend& backend() { return backend_; }

 private:
  struct Place {  // where pages lie on this rank: its own pool, and a draft rank's copy
    KvPool* pool;
    std::uint32_t units_per_page;
    std::unique_ptr<std::byte[]> host;  // (host_pages, units_per_page, unit_bytes), touched only when used
  };
  void add_place(KvPool& pool, std::uint32_t units_per_page);
  [[nodiscard]] Result<void> check_moves(const StepPlan& plan) const;
  Result<void> move_pages(const StepPlan& plan);
  Result<void> compress(const StepPlan& plan, StepResult& result);
  [[nodiscard]] AttentionTap* tap_for(const StepPlan& plan);
  void swap_pages_of(const Place& place, const StepPlan& plan);
  Result<void> fetch_restored(const BlockPlan& blocks);
  Result<void> quantise_pages(const StepPlan& plan);
  Result<void> settle_blocks(const BlockPlan& plan, StepResult& result);
  Result<void> gather_tables(const StepPlan& plan);
  Result<void> draft_rounds(const StepPlan& plan, DraftChooser* chooser, StepResult& result);
  Result<void> place_shadows(const StepPlan& plan);
  [[nodiscard]] std::vector<ShadowPoint> shadow_points(const StepPlan& plan, const StepResult& result) const;
  void add_rows(const StepPlan& plan, const StepResult& result);
  [[nodiscard]] KvTable kv_of(const SequenceStep& step, std::size_t sequence) const;

  // constant after construction
  Backend& backend_;
  Transformer& transformer_;
  KvPool& pool_;
  const PageGeometry geometry_;
  Compressor* const compressor_;
  BlockMover* mover_ = nullptr;
  const UnitCodec* codec_ = nullptr;
  transport::Communicator* ranks_ = nullptr;
  std::vector<Place> places_;
  DraftGroup* draft_group_ = nullptr;
  ShadowSlots shadows_;
  // scratch of one step, owned by the step thread
  Drafter drafter_;
  Verifier verifier_;
  std::vector<RoundStart> starts_;
  std::vector<std::int32_t> shadow_at_;   // per sequence: its first slot, -1: not read
  std::vector<TapRequest> tap_requests_;  // of the plain sequences
  std::vector<std::uint32_t> units_;      // of one page
  std::vector<std::uint32_t> tables_;     // page tables of all sequences, end to end
  std::vector<std::size_t> table_at_;     // where each begins
  std::vector<std::byte> page_;           // being quantised
};

}  // namespace leadline::worker
