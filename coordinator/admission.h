#pragma once
// admission: admit a request or turn it away, given what waits. Not a queue and not fairness between clients.
// Thread: pure.

#include <cstdint>
#include <optional>

#include "coordinator/limits.h"

namespace leadline::coordinator {

struct AdmissionLoad {
  std::size_t preparing = 0;          // requests whose text is being turned into tokens
  std::size_t waiting_sequences = 0;  // admitted, on no worker
  std::size_t waiting_tokens = 0;     // their prompts
  std::size_t running_sequences = 0;
  std::size_t slots = 0;            // sequences that ready workers can run at once
  bool any_worker_expected = true;  // ready, loading or being dialled
  bool draining = false;
  double finished_per_s = 0;  // recent rate, for Retry-After
};

struct AdmissionAsk {
  std::size_t sequences = 1;
  std::size_t prompt_tokens = 0;  // of all sequences; 0 before they are known
};

enum class AdmissionVerdict { admit, overloaded, draining, no_worker };

struct AdmissionDecision {
  AdmissionVerdict verdict = AdmissionVerdict::admit;
  unsigned retry_after_s = 1;  // 1..60
};

AdmissionDecision decide_admission(const AdmissionLoad& load, const AdmissionAsk& ask, const Limits& limits);

}  // namespace leadline::coordinator
