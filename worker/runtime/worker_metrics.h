#pragma once
// WorkerMetrics: every series that a worker's rank 0 exports, made once and passed in. Not computed here: the
// owners of the facts fill the handles. The list is frozen by tests/golden/metrics_list; what each means is
// in monitoring/README.md. Thread: handles from any thread; the step thread's calls never wait for a scrape.

#include <functional>
#include <string>

#include "monitoring/metrics.h"
#include "monitoring/process_health.h"
#include "worker/runtime/speculation_metrics.h"

namespace leadline::worker {

enum class SequenceWait {
  inbox,
  pages,
  swapped
};  // not yet planned; no room for its pages; preempted to host memory
enum class SequenceEnd {
  stop,
  length,
  cancelled,
  deadline,
  overloaded,
  invalid,
  failed
};  // as transport::FinishReason
enum class TokenKind { prompt_computed, prompt_cached, generated };
enum class KvPageState {
  free,
  reusable,
  used
};  // reusable: committed and unreferenced, evicted when needed; sums to the pool
enum class PreemptionKind { swap, recompute };
enum class SwapDirection { out, in };
enum class StepStage {
  plan,
  announce,
  draft,
  forward,
  sample,
  deliver
};  // consecutive; their sum is the step
enum class CompressedSlots { seen, kept };
enum class LinkEnd { peer_closed, refused, timeout, malformed };

struct WorkerMetrics {
  monitoring::Gauge sequences_running;
  monitoring::HandleSet<SequenceWait, monitoring::Gauge> sequences_waiting;
  monitoring::HandleSet<SequenceEnd, monitoring::Counter> sequences_finished;
  monitoring::HandleSet<TokenKind, monitoring::Counter> sequence_tokens;
  monitoring::Histogram sequence_queue;  // receipt -> first scheduled, every scheduled sequence
  monitoring::HandleSet<KvPageState, monitoring::Gauge> kv_pages;
  monitoring::Gauge kv_pool_bytes;
  monitoring::HandleSet<PreemptionKind, monitoring::Counter> preemptions;
  monitoring::HandleSet<SwapDirection, monitoring::Counter> swapped_pages;
  monitoring::HandleSet<StepStage, monitoring::Histogram> step;
  monitoring::Counter steps;
  // by the method's number in compression_methods()
  std::vector<monitoring::HandleSet<CompressedSlots, monitoring::Counter>> compression_slots;
  monitoring::Histogram compression;  // of one compression, on rank 0
  monitoring::Gauge compressed_sequences;
  monitoring::Gauge ranks;
  monitoring::Gauge links;  // coordinators connected
  monitoring::HandleSet<LinkEnd, monitoring::Counter> links_ended;
  monitoring::StateGauge<monitoring::StartupPhase> startup_phase;
  monitoring::HandleSet<monitoring::StartupPhase, monitoring::Gauge>
      startup_seconds;             // spent in each phase up to ready
  monitoring::Gauge weight_bytes;  // of this rank, packed

  SpeculationMetrics speculation;

  static WorkerMetrics create(monitoring::MetricsRegistry& registry, const monitoring::ProcessHealth& health);
};

struct WorkerConfigInfo {
  std::string model, weights, kv_dtype, isa, max_model_len, max_seqs, threads;  // values as text
};
void publish_config_info(monitoring::MetricsRegistry& registry,
                         const WorkerConfigInfo& info);  // once, at start

}  // namespace leadline::worker
