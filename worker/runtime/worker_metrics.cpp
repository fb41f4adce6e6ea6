#include "worker/runtime/worker_metrics.h"

#include "worker/compression/compression_policy.h"

namespace leadline::worker {
namespace {
// In the order of the enums in the header.
constexpr std::string_view kWaits[] = {"inbox", "pages", "swapped"};
constexpr std::string_view kEnds[] = {"stop",       "length",  "cancelled", "deadline",
                                      "overloaded", "invalid", "failed"};
constexpr std::string_view kTokenKinds[] = {"prompt_computed", "prompt_cached", "generated"};
constexpr std::string_view kPageStates[] = {"free", "reusable", "used"};
constexpr std::string_view kPreemptions[] = {"swap", "recompute"};
constexpr std::string_view kDirections[] = {"out", "in"};
constexpr std::string_view kStages[] = {"plan", "announce", "draft", "forward", "sample", "deliver"};
constexpr std::string_view kCompressedSlots[] = {"seen", "kept"};
constexpr std::string_view kLinkEnds[] = {"peer_closed", "refused", "timeout", "malformed"};

void create_step(WorkerMetrics& m, monitoring::MetricsRegistry& r, const monitoring::ProcessHealth& health) {
  m.step =
      r.histograms<StepStage>("leadline_step_seconds",
                              "Time of one step, by stage; the stages add up to the step.", "stage", kStages);
  m.steps = r.counter("leadline_steps_total", "Steps completed.");
  r.gauge_from("leadline_step_age_seconds", "Since the running step began; 0 while idle.",
               [&health] { return health.step_age_seconds(); });
}

void create_compression(WorkerMetrics& m, monitoring::MetricsRegistry& r) {
  for (const CompressionMethod& method : compression_methods())
    m.compression_slots.push_back(r.counters<CompressedSlots>(
        "leadline_kv_compression_slots_total",
        "KV slots that compressions looked at and kept, over all layers and KV heads, by method.", "kind",
        kCompressedSlots, {{"method", std::string(method.name)}}));
  m.compression = r.histogram("leadline_kv_compression_seconds", "Time of one compression on rank 0.");
  m.compressed_sequences =
      r.gauge("leadline_kv_compressed_sequences", "Sequences whose KV is compressed now.");
}

void create_startup(WorkerMetrics& m, monitoring::MetricsRegistry& r) {
  m.startup_phase = r.state<monitoring::StartupPhase>(
      "leadline_startup_phase", "1 for the present phase, else 0.", "phase", monitoring::kStartupPhaseNames);
  m.startup_phase.set(monitoring::StartupPhase::starting);
  const std::span<const std::string_view> until_ready(monitoring::kStartupPhaseNames, 3);
  m.startup_seconds = r.gauges<monitoring::StartupPhase>(
      "leadline_startup_seconds", "Time spent in a phase before ready.", "phase", until_ready);
}

}  // namespace

WorkerMetrics WorkerMetrics::create(monitoring::MetricsRegistry& r, const monitoring::ProcessHealth& health) {
  WorkerMetrics m;
  m.sequences_running =
      r.gauge("leadline_sequences_running", "Sequences that own pages and take part in steps.");
  m.sequences_waiting = r.gauges<SequenceWait>(
      "leadline_sequences_waiting", "Sequences that take no part in steps, by why.", "reason", kWaits);
  m.sequences_finished = r.counters<SequenceEnd>("leadline_sequences_finished_total",
                                                 "Sequences that ended, by how.", "reason", kEnds);
  m.sequence_tokens = r.counters<TokenKind>(
      "leadline_sequence_tokens_total",
      "Tokens whose KV was computed or found for a prompt, and tokens sampled.", "kind", kTokenKinds);
  m.sequence_queue =
      r.histogram("leadline_sequence_queue_seconds", "Receipt by the worker to the first step.");
  m.kv_pages = r.gauges<KvPageState>(
      "leadline_kv_pages", "Pages of the KV pool by state; they add up to the pool.", "state", kPageStates);
  m.kv_pool_bytes = r.gauge("leadline_kv_pool_bytes", "Bytes of this rank's KV pool.");
  m.preemptions = r.counters<PreemptionKind>(
      "leadline_preemptions_total", "Sequences put aside for want of pages, by how.", "kind", kPreemptions);
  m.swapped_pages = r.counters<SwapDirection>(
      "leadline_swapped_pages_total", "Pages copied to and from host memory.", "direction", kDirections);
  m.ranks = r.gauge("leadline_ranks", "Ranks of this worker.");
  m.links = r.gauge("leadline_coordinator_links", "Coordinators connected to this worker.");
  m.links_ended = r.counters<LinkEnd>("leadline_coordinator_links_ended_total",
                                      "Links to coordinators that ended, by why.", "reason", kLinkEnds);
  m.weight_bytes = r.gauge("leadline_weight_bytes", "Bytes of packed weights on this rank.");
  create_step(m, r, health);
  create_compression(m, r);
  create_startup(m, r);
  m.speculation = SpeculationMetrics::create(r);
  return m;
}

void publish_config_info(monitoring::MetricsRegistry& r, const WorkerConfigInfo& info) {
  r.gauge("leadline_config_info", "Constant 1; how this process was configured.",
          {{"model", info.model},
           {"weights", info.weights},
           {"kv_dtype", info.kv_dtype},
           {"isa", info.isa},
           {"max_model_len", info.max_model_len},
           {"max_seqs", info.max_seqs},
           {"threads", info.threads}})
      .set(1);
}

}  // namespace leadline::worker
