#pragma once
// Supervisor: `leadline up`. Starts workers and coordinator, shows loading, prints the URL when ready,
// restarts what dies, and on Ctrl-C drains: the coordinator first (its streams need the workers), then the
// workers; a second one insists. Not a scheduler of any kind: it never looks at requests. Thread: main
// (signals come through a signalfd). Invariants: no child outlives it (process groups, PR_SET_PDEATHSIG,
// run-rank); every wait has a limit.

#include "deploy/cli/up_options.h"

namespace leadline::deploy {

inline constexpr int kDrainLimitSeconds = 45;  // of the coordinator; its own limit is shorter
inline constexpr int kStopLimitSeconds = 15;   // of the workers after it

// Returns the exit status of the command: 0 after a drain, 1 if it could not start, 130 if it was made to
// stop at once.
int run_up(const UpOptions& options);

}  // namespace leadline::deploy
