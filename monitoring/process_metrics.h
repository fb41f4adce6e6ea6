#pragma once
// Series that every process of Leadline exports: build, start time, memory, descriptors, restarts. Not a
// component's own metrics (<dir>_metrics). Read from /proc at each scrape on the admin thread. Thread: call
// once at start.

#include <string_view>

#include "monitoring/metrics.h"

namespace leadline::monitoring {

// The supervisor (`leadline up`) sets this variable to how often it has restarted the process.
inline constexpr const char* kRestartsVariable = "LEADLINE_RESTARTS";

std::string_view build_version();  // "0.1.0"

// `component`: "coordinator" or "worker".
void register_process_metrics(MetricsRegistry& registry, std::string_view component);

}  // namespace leadline::monitoring
