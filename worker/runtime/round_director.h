#pragma once
// RoundDirector: asks the exit policy on behalf of rank 0: who drafts in the next step, to which exit and how
// far; draws drafts with the sequence's own noise; keeps what each sequence has shown. Not a policy
// (policy/), not the passes (speculative/drafter) and not acceptance. Thread: the step thread of rank 0.
// Invariants:
//   1. Nothing here can change an answer: drafts are only proposals (exactness X3).
//   2. A policy put into the slot is used from the next round on; a round ends under the policy it began
//   with.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "policy/exit_policy.h"
#include "worker/runtime/policy_slot.h"
#include "worker/runtime/sequence_sampler.h"
#include "worker/scheduler/step_plan.h"
#include "worker/speculative/drafter.h"

namespace leadline::worker {

struct SpeculationLimits {
  std::vector<std::int32_t> exits;  // candidates, ascending; empty: nobody drafts
  std::int32_t layers = 0;
  std::uint32_t max_draft = policy::kMaxDraft;  // of one round
  // What "static" in a request means; null: the policy in use.
  std::shared_ptr<const policy::ExitPolicy> fixed;
};

struct SpeculationCounts {
  std::uint64_t rounds = 0, drafted = 0, accepted = 0;
};

class RoundDirector final : public DraftChooser {
 public:
  RoundDirector(SequenceTable& table, SequenceSampler& sampler, SpeculationLimits limits, PolicySlot* slot);

  // Between steps: takes the policy of the coming one. `decoding`: sequences with one row to run.
  void begin_step(std::uint32_t decoding);
  // Asks at a round's start; the plan it wants, max_draft 0: plain. `kv`: slots before the round.
  RoundPlan open(const Sequence& sequence, std::uint32_t kv);
  // The same plan cut to the drafts that the scheduler gave.
  [[nodiscard]] RoundPlan granted(SequenceId id, std::uint32_t drafts) const;

  DraftChoice choose(const DraftPoint& point, std::span<const float> logits) override;

  // A round was verified: `stand` rows of it stand; `logits` the model's own, of all its rows.
  void close(const Sequence& sequence, const DraftedRound& round, std::size_t stand, ConstFloatMatrix logits);
  // A plain step of a sequence that may draft gave a token.
  void saw_plain(const Sequence& sequence, std::span<const float> logits, std::int32_t token);
  [[nodiscard]] SpeculationCounts counts(SequenceId id) const;
  void forget(SequenceId id) { rounds_.erase(id); }

 private:
  struct Rounds {  // of one sequence
    policy::SequenceExperience experience;
    policy::ExitFeatures features;  // of the round's setting; a probe adds its own
    SamplingParams draft_sampling;  // the sequence's, without logprobs
    RoundPlan plan;
    PolicySlot::Policy policy;  // of the round at hand
    float chain = 1;            // product of top-1 probabilities of the drafts that ran
    std::vector<policy::ExitObservation> observations;  // of the drafts drawn in this round
    SpeculationCounts counts;
  };
  Rounds& rounds_of(const Sequence& sequence);
  [[nodiscard]] static policy::Action ask(const policy::ExitPolicy& policy,
                                          const policy::DecisionPoint& point);
  [[nodiscard]] PolicySlot::Policy policy_for(const Sequence& sequence) const;
  static DraftChoice decide(Rounds& rounds, policy::DecisionPoint& point, bool climbing, std::int32_t token);
  [[nodiscard]] std::int32_t index_of(std::int32_t exit) const;

  // constant after construction
  SequenceTable& table_;
  SequenceSampler& sampler_;
  const SpeculationLimits limits_;
  PolicySlot* slot_;  // null: nobody drafts
  // owned by the step thread
  PolicySlot::Policy policy_;
  std::uint32_t decoding_ = 1;
  std::map<SequenceId, Rounds> rounds_;
};

}  // namespace leadline::worker
