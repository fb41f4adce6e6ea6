#pragma once
// CoordinatorMetrics: every series that a coordinator exports, made once and passed in. Not computed here:
// the owners of the facts fill the handles. The list is frozen by tests/golden/metrics_list; what each means
// is in monitoring/README.md. Thread: handles from any thread.

#include <string>

#include "monitoring/metrics.h"
#include "monitoring/process_health.h"

namespace leadline::coordinator {

enum class WaitReason { queue, no_worker };  // for a slot; for any ready worker
enum class Outcome { stop, length, cancelled, deadline, failed, invalid };        // of admitted requests
enum class Rejection { overloaded, draining, unauthorized, invalid, too_large };  // before admission
enum class PromptSource { computed, cached };
enum class WorkerLinkState { connecting, loading, ready, draining, failed };
enum class MigrationOutcome { continued, no_worker };
enum class ResponseClass { s2xx, s4xx, s5xx };

struct WorkerLinkMetrics {  // of one worker of the fleet, by its number
  monitoring::StateGauge<WorkerLinkState> state;
  monitoring::Counter connects;  // handshakes that succeeded
  monitoring::Gauge requests;    // placed on this worker and not ended
};

struct CoordinatorMetrics {
  monitoring::Gauge requests_running;
  monitoring::HandleSet<WaitReason, monitoring::Gauge> requests_waiting;
  monitoring::HandleSet<Outcome, monitoring::Counter> requests_finished;
  monitoring::HandleSet<Rejection, monitoring::Counter> requests_rejected;
  monitoring::HandleSet<ResponseClass, monitoring::Counter> http_responses;
  monitoring::Gauge http_connections;
  // All observed once per request that produced a token, but inter_token: once per token after the first.
  monitoring::Histogram ttft, inter_token, e2e, queue, prefill, decode;
  monitoring::HandleSet<PromptSource, monitoring::Counter> prompt_tokens;
  monitoring::Counter generation_tokens;
  monitoring::HandleSet<MigrationOutcome, monitoring::Counter> migrations;
  monitoring::StateGauge<monitoring::StartupPhase> startup_phase;

  static CoordinatorMetrics create(monitoring::MetricsRegistry& registry);
};

// One set per known worker; `worker` is its number in the fleet, so the series are bounded by the fleet's
// limit.
WorkerLinkMetrics worker_link_metrics(monitoring::MetricsRegistry& registry, std::uint32_t worker);

struct CoordinatorConfigInfo {
  std::string model, max_model_len, max_queue, tls,
      api_keys;  // values as text; keys: "yes" or "no", never a key
};
void publish_config_info(monitoring::MetricsRegistry& registry,
                         const CoordinatorConfigInfo& info);  // once, at start

}  // namespace leadline::coordinator
