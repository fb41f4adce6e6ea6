#include "coordinator/admission.h"

#include <algorithm>
#include <cmath>

namespace leadline::coordinator {

namespace {

// Seconds until a place in the queue is likely to be free.
unsigned retry_after(const AdmissionLoad& load) {
  if (load.finished_per_s <= 0) return 5;
  const double excess = static_cast<double>(load.waiting_sequences + load.preparing) / 2;
  return static_cast<unsigned>(std::clamp(std::ceil(excess / load.finished_per_s), 1.0, 60.0));
}

}  // namespace

AdmissionDecision decide_admission(const AdmissionLoad& load, const AdmissionAsk& ask, const Limits& limits) {
  if (load.draining) return {AdmissionVerdict::draining, 5};
  if (!load.any_worker_expected) return {AdmissionVerdict::no_worker, 10};
  const std::size_t slots_free =
      load.slots > load.running_sequences ? load.slots - load.running_sequences : 0;
  const std::size_t waiting = load.waiting_sequences + load.preparing + ask.sequences;
  if (waiting > limits.waiting_requests + slots_free)
    return {AdmissionVerdict::overloaded, retry_after(load)};
  // A single large request is always let in when nothing waits: it could never be served otherwise.
  if (load.waiting_tokens > 0 && load.waiting_tokens + ask.prompt_tokens > limits.waiting_tokens) {
    return {AdmissionVerdict::overloaded, retry_after(load)};
  }
  return {};
}

}  // namespace leadline::coordinator
