#pragma once
// WorkerStatus: what the step thread publishes about itself, read by the I/O thread and the admin server
// without a lock and without waiting for a step (trap T16). Not a metric: prometheus counters are in
// runtime/worker_metrics. Thread: the step thread (and, for loading progress, main) writes; any thread reads.
// Values may be of different moments.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "transport/control/messages.h"

namespace leadline::worker {

struct WorkerStatus {
  std::atomic<transport::WorkerPhase> phase{transport::WorkerPhase::starting};
  std::atomic<std::uint64_t> loaded_bytes{0}, total_bytes{0};
  std::atomic<std::uint32_t> running{0}, waiting{0};
  std::atomic<std::uint64_t> waiting_tokens{0};
  std::atomic<std::uint32_t> pages_used{0}, pages_total{0};
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::int64_t> last_step_us{0};  // steady clock, microseconds since its epoch
  std::atomic<bool> busy{false};              // sequences live: a step is due

  [[nodiscard]] transport::Status snapshot() const {
    transport::Status s;
    s.phase = phase.load();
    s.loaded_bytes = loaded_bytes.load();
    s.total_bytes = total_bytes.load();
    s.running = running.load();
    s.waiting = waiting.load();
    s.waiting_tokens = waiting_tokens.load();
    s.pages_used = pages_used.load();
    s.pages_total = pages_total.load();
    s.steps = steps.load();
    if (busy.load()) {
      const std::int64_t age = now_us() - last_step_us.load();
      s.step_age_ms = age > 0 ? static_cast<std::uint64_t>(age) / 1000 : 0;
    }
    return s;
  }
  static std::int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace leadline::worker
