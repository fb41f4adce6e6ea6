#pragma once
// DraftGroup: draft ranks: rank 0 holds a whole copy of the layers up to the deepest exit, with KV of all
// heads there, so that a draft pays no collective; before verification every rank is handed the hidden states
// and its heads' share of K and V. Not the draft passes (drafter) and not verification. The residual is whole
// on every rank (exactness X2), so the copy's KV is kept up to date by prefills and plain steps without a
// message. Thread: the step thread of each rank. Invariants:
//   1. The same bits as without: the same rows through the same products; K and V travel as f32, before RoPE.
//   2. Two collectives for all rounds of a step, whatever their length: what was drafted, and the tensors.
//   3. Page p of the copy's pool holds the tokens of page p of this worker's: page moves apply to both.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/model/transformer.h"
#include "worker/speculative/drafter.h"
#include "worker/speculative/round.h"

namespace leadline::worker {

struct DraftGroupOptions {
  ModelConfig model;
  TransformerOptions load;          // of the worker's own model: directory, weights, rows, positions
  std::vector<std::int32_t> exits;  // candidates, ascending, at least one
  std::int32_t max_sequences = 0, max_draft_rows = 0;
  std::uint32_t pages = 0;
  DType kv_dtype = DType::bf16;
};

class DraftGroup {
 public:
  // Every rank makes one, beside its own model. out_of_memory, or what loading says.
  static Result<std::unique_ptr<DraftGroup>> create(DraftGroupOptions options, Backend& backend,
                                                    transport::Communicator& ranks, Transformer& whole);

  // As Drafter::draft, for all ranks. Tables of `starts` are of the worker's own pool `pool`.
  Result<std::vector<DraftedRound>> draft(std::span<const RoundStart> starts, DraftChooser* chooser,
                                          std::uint32_t layer_unit_step, KvPool& pool);

  // Pages whose KV did not pass through the model on the way in (restored blocks): every rank sends its heads
  // of the copy's layers to rank 0. The same pages on every rank; one collective for up to 64 of them.
  Result<void> fetch_pages(std::span<const std::uint32_t> pages, std::uint32_t units_per_page, KvPool& pool);

  [[nodiscard]] KvPool* pool() { return pool_.get(); }  // rank 0's; null elsewhere
  [[nodiscard]] std::uint32_t units_per_page() const { return deepest_ * heads_; }
  [[nodiscard]] std::int64_t weight_bytes() const { return shallow_ ? shallow_->weight_bytes() : 0; }

 private:
  DraftGroup(DraftGroupOptions options, Backend& backend, transport::Communicator& ranks, Transformer& whole);
  Result<void> load_copy();
  Result<std::vector<DraftedRound>> draft_alone(std::span<const RoundStart> starts, DraftChooser* chooser);
  Result<std::vector<DraftedRound>> agree(std::span<const RoundStart> starts,
                                          std::vector<DraftedRound> rounds);
  Result<void> hand_over(std::span<const RoundStart> starts, std::vector<DraftedRound>& rounds,
                         std::uint32_t layer_unit_step, KvPool& pool);

  // constant after creation
  const DraftGroupOptions options_;
  const std::uint32_t deepest_, heads_;  // layers of the copy; KV heads of the model
  Backend& backend_;
  transport::Communicator& ranks_;
  Transformer& whole_;
  std::unique_ptr<transport::Communicator> alone_;  // of the copy: nobody else
  std::unique_ptr<Transformer> shallow_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Drafter> drafter_;
  // owned by the step thread
  std::vector<std::byte> sent_, received_;  // of fetch_pages
  std::unique_ptr<Buffer> handed_;          // hidden states, then K and V, of all drafted rows of a step
};

}  // namespace leadline::worker
