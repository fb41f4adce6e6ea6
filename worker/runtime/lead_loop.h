#pragma once
// LeadLoop: the step thread of rank 0: inbox -> scheduler -> plan -> broadcast -> execute -> sample ->
// outbox, for as long as the worker lives. Not a decision maker: the scheduler, the sampler and the cache
// decide, this applies. The other ranks run follow() (follow_loop.h).
//
// Thread: the step thread calls run(); everything here is its own. Others reach it through the inbox only.
// Invariants:
//   1. A live sequence is in the table and in the cache, in exactly one SequenceState.
//   2. Cancels, deadlines and lost links act between steps, never inside one.
//   3. What a round won is delivered token by token, exactly as plain steps would have.
//   4. Every accepted sequence gets exactly one Finish, unless its link is lost or the group dies.

#include <chrono>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "monitoring/process_health.h"
#include "transport/collective/communicator.h"
#include "worker/kvcache/sequence_cache.h"
#include "worker/runtime/compression_director.h"
#include "worker/runtime/prefix_fetcher.h"
#include "worker/runtime/round_director.h"
#include "worker/runtime/sequence_sampler.h"
#include "worker/runtime/step_executor.h"
#include "worker/runtime/token_chooser.h"
#include "worker/runtime/worker_metrics.h"
#include "worker/scheduler/scheduler.h"
#include "worker/serving/request_inbox.h"
#include "worker/serving/request_intake.h"
#include "worker/serving/sequence_table.h"
#include "worker/serving/token_outbox.h"
#include "worker/serving/worker_status.h"

namespace leadline::worker {

struct LeadLimits {
  IntakeLimits intake;
  SchedulerLimits scheduler;
  SpeculationLimits speculation;
  CompressionRules compression;
  std::size_t max_live_requests = 1024;  // waiting and running; beyond: handed back as overloaded
  std::size_t peeked_requests = 16;      // waiting ones whose prefix hit is looked up per step
  std::chrono::milliseconds drain_limit{
      30'000};  // after a drain: what still runs then is left to the coordinator
  std::chrono::milliseconds idle_patience{1'000};  // sleep in the inbox without work
};

// All outlive the loop.
struct LeadParts {
  RequestInbox& inbox;
  TokenOutbox& outbox;
  WorkerStatus& status;
  WorkerMetrics& metrics;
  monitoring::ProcessHealth& health;
  transport::Communicator& ranks;
  StepExecutor& executor;
  SequenceCache& cache;
  SpeculationParts speculation;
  PrefixFetcher* fetcher = nullptr;  // null: no store
};

class LeadLoop {
 public:
  LeadLoop(LeadParts parts, LeadLimits limits);

  // Until a drain ends or the inbox is closed; then tells the other ranks to leave. rank_lost: the group is
  // dead.
  Result<void> run();

 private:
  struct Live {
    SequenceState state = SequenceState::waiting;
    std::uint64_t arrival_step = 0;
  };

  void take_inbox(std::chrono::milliseconds patience);
  void accept(InboxGenerate item);
  void add_to_cache(const Sequence& sequence);
  void admit(SequenceId id, SteadyTime now);
  [[nodiscard]] bool owes_a_plan() const;  // without a sequence to run
  void expire_deadlines(SteadyTime now);
  [[nodiscard]] std::chrono::milliseconds patience(SteadyTime now) const;
  [[nodiscard]] std::vector<SequenceView> views();
  StepPlan plan(const Schedule& schedule);
  void preempt(const Schedule& schedule);
  Result<void> step(const StepPlan& plan);
  void ask_for_drafts(std::vector<SequenceView>& views);
  void account(const StepPlan& plan, double seconds);
  void sample(const StepPlan& plan, const StepResult& result);
  void sample_on_device(const StepPlan& plan, const StepResult& result);
  void sample_last(Sequence& sequence, std::span<const float> logits);
  void settle(Sequence& sequence, const DraftedRound& round, ConstFloatMatrix logits);
  // The model's own tokens of the rows that stand; their KV is committed. sample(row, won before it).
  using RowSampler = std::function<SampledRow(std::size_t row, std::span<const std::int32_t> won)>;
  std::vector<SampledRow> win(const Sequence& sequence, const DraftedRound& round, const RowSampler& sample);
  void deliver_round(Sequence& sequence, const DraftedRound& round, std::vector<SampledRow> own);
  void deliver_or_fail(Sequence& sequence, SampledRow row, std::int32_t draft_layer, SteadyTime now);
  void deliver(Sequence& sequence, SampledRow row, std::int32_t draft_layer, SteadyTime now);
  void finish(SequenceId id, transport::FinishReason reason, std::string message = {},
              std::int32_t stop_token = -1);
  void refuse(const InboxGenerate& item, transport::FinishReason reason, std::string message);
  void publish_status();

  // constant after construction
  LeadParts parts_;
  const LeadLimits limits_;
  // owned by the step thread
  CompressionDirector compression_;
  SequenceTable table_;
  std::unordered_map<SequenceId, Live> live_;
  SequenceSampler sampler_;
  TokenChooser chooser_;
  RoundDirector director_;
  std::uint64_t step_ = 0;
  std::optional<SteadyTime> drain_until_;
};

}  // namespace leadline::worker
