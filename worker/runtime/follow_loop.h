#pragma once
// follow: what ranks above 0 do for as long as the worker lives: sleep until a plan is announced, execute it,
// and again. Not a copy of LeadLoop: no scheduler, no tokens, no clients; a follower knows only what the plan
// says (trap T11). Thread: the step thread of that rank. Returns when rank 0 says leave (empty plan);
// rank_lost when the group is dead.

#include "transport/collective/communicator.h"
#include "worker/runtime/step_executor.h"

namespace leadline::worker {

Result<void> follow(transport::Communicator& ranks, StepExecutor& executor);

}  // namespace leadline::worker
