#pragma once
// RoundDirector: asks the exit policy on behalf of rank 0: who drafts in the next step, to which exit and how
// far; draws drafts with the sequence's own noise; keeps what each sequence has shown; tells the guard what
// steps cost, and the log what was decided. Not a policy (policy/), not the passes (speculative/drafter) and
// not acceptance. Thread: the step thread of rank 0.
// Invariants:
//   1. Nothing here can change an answer: drafts are only proposals (exactness X3).
//   2. Exploration draws from counters of its own, never from the sampling noise (X9), and only where a log
//   is kept; else the policy's mode is taken.
//   3. A policy put into the slot is used from the next round on; a round ends under the policy it began
//   with.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "policy/exit_policy.h"
#include "policy/speculation_guard.h"
#include "policy/trajectory_log.h"
#include "worker/runtime/policy_slot.h"
#include "worker/runtime/sequence_sampler.h"
#include "worker/runtime/speculation_metrics.h"
#include "worker/runtime/token_chooser.h"
#include "worker/scheduler/step_plan.h"
#include "worker/speculative/drafter.h"

namespace leadline::worker {

struct SpeculationLimits {
  std::vector<std::int32_t> exits;  // candidates, ascending; empty: nobody drafts
  std::int32_t layers = 0;
  std::uint32_t max_draft = policy::kMaxDraft;  // of one round
  std::uint32_t step_drafts = 128;              // of one step, all rounds together
  // What "static" in a request means; null: the policy in use.
  std::shared_ptr<const policy::ExitPolicy> fixed;
  bool guarded = true;  // requests that leave the choice to the server draft only while that pays
  float explore = 0;    // share of decisions drawn for the log's sake; [0, 1]
};

struct SpeculationParts {        // any may be null; all outlive the director
  PolicySlot* policy = nullptr;  // null: nobody drafts
  policy::TrajectoryLog* log = nullptr;
  const SpeculationMetrics* metrics = nullptr;
};

struct StepAccount {  // of a step that ended
  double us = 0;
  bool speculated = false;  // somebody drafted
  bool mixed = false;       // with prompt rows
};

struct SpeculationCounts {
  std::uint64_t rounds = 0, drafted = 0, accepted = 0;
};

class RoundDirector final : public DraftChooser {
 public:
  // device: chooses where logits lie on a device; null: they are on the host. Outlives this.
  RoundDirector(SequenceTable& table, SequenceSampler& sampler, SpeculationLimits limits,
                SpeculationParts parts, TokenChooser* device = nullptr);

  // Between steps: takes the policy of the coming one. `decoding`: sequences with one row to run.
  void begin_step(std::uint32_t decoding);
  // Asks at a round's start; the plan it wants, max_draft 0: plain. `kv`: slots before the round.
  RoundPlan open(const Sequence& sequence, std::uint32_t kv);
  // The same plan cut to the drafts that the scheduler gave.
  RoundPlan granted(SequenceId id, std::uint32_t drafts);

  DraftChoice choose(const DraftPoint& point, std::span<const float> logits) override;
  std::vector<DraftChoice> choose_all(std::span<const DraftPoint> points, ConstFloatMatrix logits) override;
  [[nodiscard]] bool reads_device() const override { return device_ != nullptr; }
  void see_shadows(std::span<const ShadowPoint> points, ConstFloatMatrix logits) override;

  // A round was verified: `own` are the model's tokens of the rows that stand; `logits` its own, of all rows.
  void close(const Sequence& sequence, const DraftedRound& round, std::span<const SampledRow> own,
             ConstFloatMatrix logits);
  // The same where readings were made on a device, of all its rows; without wants_round_probe left out.
  void close(const Sequence& sequence, const DraftedRound& round, std::span<const SampledRow> own,
             std::span<const policy::ProbeReading> readings);
  [[nodiscard]] bool wants_round_probe(const Sequence& sequence);
  // A plain step of a sequence that may draft gave a token.
  void saw_plain(const Sequence& sequence, std::span<const float> logits, std::int32_t token);
  // The same where the reading was made on a device; without wants_probe it may be left out.
  void saw_plain(const Sequence& sequence, std::int32_t token, const policy::ProbeReading& reading);
  [[nodiscard]] bool wants_probe(const Sequence& sequence);
  void end_step(const StepAccount& step);
  [[nodiscard]] SpeculationCounts counts(SequenceId id) const;
  void forget(SequenceId id) { rounds_.erase(id); }

 private:
  struct Shadow {  // what an exit would have drafted
    std::size_t row = 0;
    std::int32_t exit_index = 0, token = 0;
    float confidence = 0;
  };
  struct Rounds {  // of one sequence
    policy::SequenceExperience experience;
    policy::ExitFeatures features;  // of the round's setting; a probe adds its own
    SamplingParams draft_sampling;  // the sequence's, without logprobs
    RoundPlan plan;
    PolicySlot::Policy policy;  // of the round at hand
    float chain = 1;            // product of top-1 probabilities of the drafts that ran
    std::vector<policy::ExitObservation> observations;  // of the drafts drawn in this round
    std::vector<Shadow> shadows;                        // of its verification; empty: not read
    SpeculationCounts counts;
    policy::Trajectory trajectory;                // of the round at hand, where a log is kept
    std::chrono::steady_clock::time_point asked;  // its last decision
  };
  Rounds& rounds_of(const Sequence& sequence);
  policy::Action ask(SequenceId id, Rounds& rounds, const policy::DecisionPoint& point);
  void note_cost(Rounds& rounds) const;
  void log_round(SequenceId id, Rounds& rounds, std::size_t tokens, std::size_t drafted);
  static void observe_shadows(Rounds& rounds, std::span<const std::int32_t> own, std::size_t compared);
  void count_round(const DraftedRound& round, std::size_t drafted, std::size_t accepted) const;
  [[nodiscard]] PolicySlot::Policy policy_for(const Sequence& sequence) const;
  DraftChoice decide(SequenceId id, Rounds& rounds, policy::DecisionPoint& point, bool climbing,
                     std::int32_t token);
  DraftChoice choose_drawn(const DraftPoint& at, std::int32_t token, const policy::ProbeReading& reading);
  [[nodiscard]] std::int32_t index_of(std::int32_t exit) const;

  // constant after construction
  SequenceTable& table_;
  SequenceSampler& sampler_;
  const SpeculationLimits limits_;
  const SpeculationParts parts_;
  TokenChooser* const device_;
  // owned by the step thread
  PolicySlot::Policy policy_;
  std::uint32_t decoding_ = 1;
  policy::SpeculationGuard guard_;
  bool held_back_ = false;             // by the guard, in this step
  double won_ = 0;                     // tokens of this step
  double seconds_ = 0;                 // spent deciding since the last step
  std::uint64_t asked_ = 0;            // decisions since the last step
  double saved_us_ = 0, lost_us_ = 0;  // the guard's totals as counted so far
  std::map<SequenceId, Rounds> rounds_;
};

}  // namespace leadline::worker
