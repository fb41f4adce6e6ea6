#pragma once
// LoadProgress: asks the workers' /startupz how far they are, and the coordinator's /readyz whether it can
// serve. Each question is answered by an admin thread at once or given up after kAskTimeout. Not a health
// monitor. Thread: main.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "deploy/cli/up_options.h"

namespace leadline::deploy {

struct WorkerProgress {
  std::string phase;  // "" = no answer yet
  std::uint64_t loaded_bytes = 0, total_bytes = 0;
};

inline constexpr std::chrono::milliseconds kAskTimeout{250};

// `json`: the body of /startupz; anything odd gives an empty phase.
WorkerProgress read_startup(const std::string& json);
WorkerProgress ask_startup(int admin_port);
bool ask_ready(int admin_port);

// "loading weights: 12.3 MB of 24.6 MB (50%)", over all workers, and the percent (0 while nothing is known).
std::string describe_progress(const std::vector<WorkerProgress>& workers, int& percent);

}  // namespace leadline::deploy
