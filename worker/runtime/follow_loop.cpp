#include "worker/runtime/follow_loop.h"

namespace leadline::worker {

Result<void> follow(transport::Communicator& ranks, StepExecutor& executor) {
  while (true) {
    auto bytes = ranks.await_plan();
    if (!bytes) return monitoring::fail(Errc::rank_lost, bytes.error().message);
    if (bytes->empty()) return {};
    auto plan = step_plan_from_bytes(*bytes);
    if (!plan) return tl::unexpected(plan.error());
    if (auto done = executor.execute(*plan); !done) return tl::unexpected(done.error());
  }
}

}  // namespace leadline::worker
