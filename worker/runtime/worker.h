#pragma once
// Worker: one rank from flags to leaving: finds its group, loads its share of the model, sizes its pages,
// warms up, then leads or follows. Wiring and order of start and end only; every part has its own file.
// Thread: main's. Returns the process's exit code; what went wrong was logged.

#include "worker/worker_config.h"

namespace leadline::worker {

inline constexpr int kExitConfiguration =
    2;                                 // starting again changes nothing: the supervisor says so and stops
inline constexpr int kExitFailed = 1;  // a rank was lost, or the machine refused: starting again may help

int run_worker(const WorkerConfig& config);

}  // namespace leadline::worker
