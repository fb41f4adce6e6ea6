#include "coordinator/coordinator_metrics.h"

namespace leadline::coordinator {
namespace {
// In the order of the enums in the header.
constexpr std::string_view kWaitReasons[] = {"queue", "no_worker"};
constexpr std::string_view kOutcomes[] = {"stop", "length", "cancelled", "deadline", "failed", "invalid"};
constexpr std::string_view kRejections[] = {"overloaded", "draining", "unauthorized", "invalid", "too_large"};
constexpr std::string_view kSources[] = {"computed", "cached"};
constexpr std::string_view kLinkStates[] = {"connecting", "loading", "ready", "draining", "failed"};
constexpr std::string_view kMigrations[] = {"continued", "no_worker"};
constexpr std::string_view kResponseClasses[] = {"2xx", "4xx", "5xx"};
}  // namespace

CoordinatorMetrics CoordinatorMetrics::create(monitoring::MetricsRegistry& r) {
  CoordinatorMetrics m;
  m.requests_running = r.gauge("leadline_requests_running", "Requests placed on a worker and not ended.");
  m.requests_waiting = r.gauges<WaitReason>(
      "leadline_requests_waiting", "Admitted requests that no worker has yet.", "reason", kWaitReasons);
  m.requests_finished = r.counters<Outcome>("leadline_requests_finished_total",
                                            "Admitted requests that ended, by how.", "outcome", kOutcomes);
  m.requests_rejected =
      r.counters<Rejection>("leadline_requests_rejected_total",
                            "Requests turned away before admission, by why.", "reason", kRejections);
  m.http_responses = r.counters<ResponseClass>(
      "leadline_http_responses_total", "HTTP responses begun, by status class.", "class", kResponseClasses);
  m.http_connections = r.gauge("leadline_http_connections", "Open client connections.");
  m.ttft = r.histogram("leadline_request_ttft_seconds", "Receipt of a request to its first token.");
  m.inter_token =
      r.histogram("leadline_request_inter_token_seconds", "Between consecutive tokens of a request.");
  m.e2e = r.histogram("leadline_request_e2e_seconds", "Receipt of a request to its end.");
  m.queue = r.histogram("leadline_request_queue_seconds",
                        "Receipt of a request to its first step, coordinator and worker.");
  m.prefill = r.histogram("leadline_request_prefill_seconds", "First step of a request to its first token.");
  m.decode = r.histogram("leadline_request_decode_seconds", "First token of a request to its last.");
  m.prompt_tokens = r.counters<PromptSource>("leadline_prompt_tokens_total",
                                             "Prompt tokens of ended requests, by where their KV came from.",
                                             "source", kSources);
  m.generation_tokens =
      r.counter("leadline_generation_tokens_total", "Tokens received from workers for clients.");
  m.migrations = r.counters<MigrationOutcome>(
      "leadline_request_migrations_total",
      "Requests whose worker was lost while they ran, by what came of them.", "outcome", kMigrations);
  m.startup_phase = r.state<monitoring::StartupPhase>(
      "leadline_startup_phase", "1 for the present phase, else 0.", "phase", monitoring::kStartupPhaseNames);
  m.startup_phase.set(monitoring::StartupPhase::starting);
  return m;
}

WorkerLinkMetrics worker_link_metrics(monitoring::MetricsRegistry& r, std::uint32_t worker) {
  const monitoring::Labels labels = {{"worker", std::to_string(worker)}};
  WorkerLinkMetrics m;
  m.state = r.state<WorkerLinkState>("leadline_worker_link_state", "1 for the link's present state, else 0.",
                                     "state", kLinkStates, labels);
  m.state.set(WorkerLinkState::connecting);
  m.connects =
      r.counter("leadline_worker_connects_total", "Handshakes with this worker that succeeded.", labels);
  m.requests = r.gauge("leadline_worker_requests", "Requests placed on this worker and not ended.", labels);
  return m;
}

void publish_config_info(monitoring::MetricsRegistry& r, const CoordinatorConfigInfo& info) {
  r.gauge("leadline_config_info", "Constant 1; how this process was configured.",
          {{"model", info.model},
           {"max_model_len", info.max_model_len},
           {"max_queue", info.max_queue},
           {"tls", info.tls},
           {"api_keys", info.api_keys}})
      .set(1);
}

}  // namespace leadline::coordinator
