#pragma once
// Verifier: the one combined pass that ends every step: prompt chunks and plain decodes from layer 0, and the
// rows of all drafted rounds from their exits on, all in one forward. Not acceptance (acceptance.h) and not
// drafting: it only orders rows so that those of a layer come first, and says where their logits are. Thread:
// the step thread. Every rank adds the same items.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/model/transformer.h"
#include "worker/speculative/round.h"
#include "worker/speculative/shadow_rows.h"

namespace leadline::worker {

struct VerifyPass {
  std::uint32_t layer_unit_step = 0;        // of KvTable::base, per layer
  AttentionTap* tap = nullptr;              // sees the plain items first, in the order of adding; may be null
  bool logits_stay = false;                 // as StepBatch has it
  const ExitReader* exit_reader = nullptr;  // of rows with a shadow slot, exits innermost, in order of adding
};

class Verifier {
 public:
  // Where rows with a shadow slot are read; outlive this.
  void use_exits(std::span<const std::int32_t> exits) { exits_ = exits; }
  void clear();
  // Rows from layer 0, `rows.first_row` aside; logits of the last `logits` of them. tokens live until run().
  void add_plain(SequenceRows rows, std::span<const std::int32_t> tokens, std::int32_t logits,
                 std::int32_t shadow_slot = -1);
  // Rows of a round, logits of all. Both arguments live until run().
  void add_round(const RoundStart& start, const DraftedRound& drafted);
  [[nodiscard]] bool empty() const { return items_.empty(); }

  // rank_lost from a collective.
  Result<ConstFloatMatrix> run(Transformer& transformer, KvPool& pool, const VerifyPass& pass);
  // After run: per item in the order of adding, its first row in the logits, -1 without.
  [[nodiscard]] std::span<const std::int32_t> first_logits() const { return first_logits_; }

 private:
  struct Item {
    SequenceRows rows;
    std::span<const std::int32_t> tokens, kept;
    std::int32_t logits = 0, join = 0, shadow_slot = -1;
  };
  void lay_out(std::int32_t layers);

  // owned by the step thread, of one step
  std::vector<Item> items_;
  std::vector<std::int32_t> first_logits_, tokens_, logit_rows_, kept_in_;
  std::vector<SequenceRows> sequences_;
  std::vector<LayerRange> layers_;
  std::span<const std::int32_t> exits_;
  std::vector<ExitTap> taps_;
  std::vector<std::int32_t> exit_slots_;
};

}  // namespace leadline::worker
