#include "coordinator/routing/router.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

using transport::WorkerId;

RouteCandidate worker(std::uint32_t id, std::uint32_t in_flight = 0, std::uint64_t pending = 0,
                      std::uint32_t prefix = 0) {
  RouteCandidate c;
  c.id = WorkerId(id);
  c.ready = true;
  c.capacity = 8;
  c.in_flight = in_flight;
  c.pending_tokens = pending;
  c.known_prefix_tokens = prefix;
  return c;
}

RouteCandidate not_ready(RouteCandidate c) {
  c.ready = false;
  return c;
}

RouteCandidate session(RouteCandidate c) {
  c.session = true;
  return c;
}

TEST(RouterTest, Table) {
  const struct {
    const char* name;
    std::vector<RouteCandidate> candidates;
    RouteQuery query;
    std::optional<std::uint32_t> chosen;
  } cases[] = {
      {"none", {}, {100, {}}, {}},
      {"idle: the smaller id", {worker(1), worker(0)}, {100, {}}, 0},
      {"fewer in flight", {worker(0, 3), worker(1, 1)}, {100, {}}, 1},
      {"not ready gets nothing", {not_ready(worker(0)), worker(1, 7)}, {100, {}}, 1},
      {"full gets nothing", {worker(0, 8), worker(1, 7)}, {100, {}}, 1},
      {"all full: wait", {worker(0, 8), worker(1, 8)}, {100, {}}, {}},
      {"known prefix wins", {worker(0), worker(1, 0, 0, 512)}, {1000, {}}, 1},
      {"known prefix, but much waits there", {worker(0), worker(1, 0, 5000, 512)}, {1000, {}}, 0},
      {"a prefix is worth no more than the prompt", {worker(0), worker(1, 1, 100, 4000)}, {64, {}}, 0},
      {"session without a known prefix", {worker(0), session(worker(1))}, {100, {}}, 1},
      {"session corrected by load", {worker(0), session(worker(1, 0, 1000))}, {100, {}}, 0},
      {"session's worker not ready", {worker(0), not_ready(session(worker(1)))}, {100, {}}, 0},
      {"avoid", {worker(0), worker(1, 5, 9000)}, {100, WorkerId(0)}, 1},
      {"avoid, but there is no other", {worker(0), worker(1, 8)}, {100, WorkerId(0)}, 0},
  };
  for (const auto& c : cases) {
    const auto chosen = choose_worker(c.candidates, c.query);
    ASSERT_EQ(chosen.has_value(), c.chosen.has_value()) << c.name;
    if (chosen) {
      EXPECT_EQ(chosen->value, *c.chosen) << c.name;
    }
  }
}

}  // namespace
}  // namespace leadline::coordinator
