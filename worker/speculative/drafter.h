#pragma once
// Drafter: runs the draft passes of a step's rounds, the same on every rank: tokens through the layers up to
// each round's exit, again and again, until every round has stopped. Not a decision maker: a DraftChooser on
// rank 0 draws drafts and decides, and its choices reach the others in one small message per pass. Leaves KV
// of the layers below the exits, and hidden states in the transformer's kept slots. Thread: the step thread.
// Invariants:
//   1. Every rank makes the same collectives in the same order: what differs is only who is asked.
//   2. A round runs at most 1 + max_draft passes; the head runs only where a choice follows.
//   3. Kept slots are used from 0 on, anew in every step.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/model/transformer.h"
#include "worker/speculative/draft_message.h"
#include "worker/speculative/round.h"
#include "worker/speculative/shadow_rows.h"

namespace leadline::worker {

struct DraftPoint {  // a row at its exit, with its logits there
  SequenceId sequence;
  std::int32_t layer = 0;                // where it stands
  bool climbing = false;                 // climb and leaving are still open (pass 1 of a climb)
  std::span<const std::int32_t> inputs;  // run so far: the last committed token, then drafts
};

class DraftChooser {
 public:
  virtual ~DraftChooser() = default;
  // `logits` (vocab) of the row that ran inputs.back(). After go_on with no draft left to draw, the token is
  // run and the round stops. Asked in one order of rows, on rank 0 only.
  virtual DraftChoice choose(const DraftPoint& point, std::span<const float> logits) = 0;
  // For all rows of a pass; logits (rows, vocab) are device memory where reads_device().
  virtual std::vector<DraftChoice> choose_all(std::span<const DraftPoint> points, ConstFloatMatrix logits);
  [[nodiscard]] virtual bool reads_device() const { return false; }
  // What exits say of rows that were verified, before the rounds are settled; logits as in choose_all.
  virtual void see_shadows(std::span<const ShadowPoint>, ConstFloatMatrix) {}
};

struct DrafterLimits {
  std::int32_t vocab = 0, layers = 0;
  std::uint32_t layer_unit_step = 0;  // of KvTable::base, per layer
};

// Kept slots that `rounds` rounds of a step with `drafts` drafts in all may take, `exits` candidate exits.
std::int32_t kept_rows_for(std::int32_t rounds, std::int32_t drafts, std::int32_t exits);

class Drafter {
 public:
  Drafter(Transformer& transformer, transport::Communicator& ranks, DrafterLimits limits)
      : transformer_(transformer), ranks_(ranks), limits_(limits) {}

  // Where rounds with a shadow_slot keep what passes; outlive this.
  void use_exits(std::span<const std::int32_t> exits) { exits_ = exits; }

  // rank_lost from a collective; malformed_file for a message that cannot be. REQUIRES on rank 0: a chooser.
  Result<std::vector<DraftedRound>> draft(std::span<const RoundStart> starts, DraftChooser* chooser,
                                          KvPool& pool);

 private:
  struct Round {
    const RoundStart* start = nullptr;
    DraftedRound drafted;
    std::int32_t from = 0, to = 0;  // where it stands, and where it leaves or asks next
    std::int32_t until = 0;         // where the next pass ends for it: `to`, or before it
    std::int32_t slot = -1;         // of the hidden state that a climb goes on with
    bool climbing = false, asks = true;
    bool active = true;
  };
  Result<void> pass(std::span<Round* const> rows, DraftChooser* chooser, KvPool& pool);
  void arrive(std::span<Round* const> rows);
  Result<std::vector<DraftChoice>> choices(std::span<Round* const> asking, ConstFloatMatrix logits,
                                           DraftChooser* chooser);
  static void apply(Round& round, const DraftChoice& choice);
  [[nodiscard]] static std::vector<Round*> next_rows(std::vector<Round>& rounds);

  // constant after construction
  Transformer& transformer_;
  transport::Communicator& ranks_;
  const DrafterLimits limits_;
  std::span<const std::int32_t> exits_;
  // owned by the step thread, of one step
  std::int32_t next_slot_ = 0;
};

}  // namespace leadline::worker
