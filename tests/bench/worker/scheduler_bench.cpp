// The costs of a step beside the model: the decision, the plan's bytes, block keys and the walk of the prefix
// index.
#include <numeric>
#include <vector>

#include "tests/support/stopwatch.h"
#include "worker/kvcache/sequence_cache.h"
#include "worker/scheduler/scheduler.h"
#include "worker/scheduler/step_plan.h"

namespace {

using namespace leadline::worker;

void decisions() {
  std::vector<SequenceView> views;
  for (std::uint32_t i = 0; i < 1256; ++i) {
    SequenceView v{.id = SequenceId{i}, .arrival = i, .arrival_step = i / 4, .known_tokens = 600 + i};
    if (i < 256) {
      v.state = SequenceState::running;
      v.computed_tokens = i % 16 == 0 ? 100 : 599 + i;
      v.device_pages = v.sole_pages = (v.computed_tokens + 15) / 16;
    }
    views.push_back(v);
  }
  const SchedulerLimits limits{.max_sequences = 256, .max_step_tokens = 2048, .total_pages = 20000};
  leadline::testing::time_it("schedule, 256 running and 1,000 waiting", 200, [&](int i) {
    const Schedule s =
        schedule(views, {.available_pages = static_cast<std::uint32_t>(i), .host_free = 4000}, limits);
    return s.run.size() + 1000 * s.swap_out.size();
  });
}

void plans() {
  StepPlan plan;
  for (std::uint64_t i = 0; i < 64; ++i) {
    plan.sequences.push_back(
        {.sequence = SequenceId{i}, .tokens = {1}, .first_position = 4000, .kv_before = 4000});
    plan.sequences.back().table.resize(251);
  }
  leadline::testing::time_it("plan to bytes and back, 64 x 4,000 tokens", 200,
                             [&](int) { return step_plan_from_bytes(to_bytes(plan))->sequences.size(); });
}

void cache() {
  SequenceCache cache({.pages = 4096, .host_pages = 0, .model_fingerprint = "bench"});
  std::vector<std::int32_t> prompt(8001);
  std::iota(prompt.begin(), prompt.end(), 0);
  const leadline::kvstore::TenantSalt salt{};
  const SequenceId first{1};
  cache.admit(first, prompt, salt);
  (void)cache.reserve(first, 8001);
  cache.commit(first, prompt);
  std::uint64_t id = 2;
  leadline::testing::time_it("add, 8,001 tokens (500 block keys)", 100, [&](int) {
    cache.add(SequenceId{id}, prompt, salt);
    cache.release(SequenceId{id});
    return id++;
  });
  cache.add(SequenceId{id}, prompt, salt);
  leadline::testing::time_it("peek, 500 pages", 1000,
                             [&](int) { return std::uint64_t{cache.peek(SequenceId{id}).tokens}; });
  cache.admit(SequenceId{id});
  leadline::testing::time_it("reserve and commit one token", 1000, [&](int i) {
    (void)cache.reserve(SequenceId{id}, 1);
    const std::int32_t token = i == 0 && cache.computed(SequenceId{id}) == 8000 ? 8000 : 5;
    cache.commit(SequenceId{id}, std::span(&token, 1));
    return std::uint64_t{cache.computed(SequenceId{id})};
  });
}

}  // namespace

int main() {
  decisions();
  plans();
  cache();
}
