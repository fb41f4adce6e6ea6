// A worker's /metrics as the doctor reads it: any bytes are taken, and lines that mean nothing change
// nothing.
#include <cstdint>

#include "deploy/cli/worker_metrics_text.h"
#include "monitoring/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  leadline::deploy::WorkerFacts facts, again;
  read_worker_metrics(text, facts);
  read_worker_metrics("# nothing\n\n" + text, again);
  LEADLINE_CHECK(facts.version == again.version && facts.tiers == again.tiers, "comments change nothing");
  LEADLINE_CHECK(facts.tiers.size() <= size / 8, "every tier has a line of its own");
  return 0;
}
