#pragma once
// read_worker_metrics: what a worker's /metrics tells the doctor of version, tiers and step. Not a parser of
// all that Prometheus allows. Thread: pure. Invariants: any bytes are taken; what is not understood is left
// out.

#include <string_view>

#include "deploy/cli/doctor_facts.h"

namespace leadline::deploy {

void read_worker_metrics(std::string_view text, WorkerFacts& facts);

}  // namespace leadline::deploy
