// Random fleets and prompts against the router's laws, and a small simulation: sessions stay where their
// prefix is, and no worker is left idle while another is full.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "coordinator/routing/prefix_history.h"
#include "coordinator/routing/router.h"

namespace leadline::coordinator {
namespace {

using transport::WorkerId;

RouteCandidate random_candidate(std::mt19937& rng, std::uint32_t id) {
  RouteCandidate c;
  c.id = WorkerId(id);
  c.ready = rng() % 4 != 0;
  c.capacity = 1 + rng() % 8;
  c.in_flight = rng() % 9;
  c.pending_tokens = rng() % 5000;
  c.known_prefix_tokens = rng() % 5000;
  c.session = rng() % 5 == 0;
  return c;
}

TEST(RouterPropertyTest, Laws) {
  std::mt19937 rng(7);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<RouteCandidate> fleet;
    const std::size_t size = rng() % 8;
    for (std::uint32_t id = 0; id < size; ++id) fleet.push_back(random_candidate(rng, id));
    RouteQuery query;
    query.prompt_tokens = 1 + rng() % 4000;
    if (rng() % 3 == 0) query.avoid = WorkerId(rng() % 8);
    const auto usable = [](const RouteCandidate& c) { return c.ready && c.in_flight < c.capacity; };
    const auto chosen = choose_worker(fleet, query);
    ASSERT_EQ(chosen.has_value(), std::any_of(fleet.begin(), fleet.end(), usable));
    if (!chosen) continue;
    ASSERT_TRUE(usable(fleet[chosen->value]));
    const bool other = std::any_of(fleet.begin(), fleet.end(),
                                   [&](const auto& c) { return usable(c) && query.avoid != c.id; });
    if (other) {
      ASSERT_NE(query.avoid, chosen);
    }
    // Order of the list does not matter; taking the others away does not either; more load elsewhere neither.
    std::shuffle(fleet.begin(), fleet.end(), rng);
    ASSERT_EQ(choose_worker(fleet, query), chosen);
    for (auto& c : fleet) {
      if (c.id != *chosen) c.pending_tokens += rng() % 1000;
    }
    ASSERT_EQ(choose_worker(fleet, query), chosen);
  }
}

TEST(RouterPropertyTest, SessionsStayAndLoadSpreads) {
  std::mt19937 rng(11);
  constexpr std::uint32_t kWorkers = 4;
  PrefixHistory history(100'000);
  std::map<int, std::vector<transport::TokenId>> sessions;
  std::map<int, WorkerId> last;
  std::vector<int> served(kWorkers, 0);
  int moved = 0, turns = 0;
  for (int round = 0; round < 2'000; ++round) {
    const int session = static_cast<int>(rng() % 40);
    auto& prompt = sessions[session];
    for (int i = 0; i < 100; ++i) prompt.push_back(static_cast<transport::TokenId>(session * 100'000 + i));
    const auto hashes = prefix_hashes(prompt, {});
    std::vector<RouteCandidate> fleet;
    for (std::uint32_t id = 0; id < kWorkers; ++id) {
      RouteCandidate c;
      c.id = WorkerId(id);
      c.ready = true;
      c.capacity = 16;
      c.in_flight = rng() % 4;
      c.known_prefix_tokens = history.known_tokens(WorkerId(id), hashes);
      c.session = last.contains(session) && last[session] == c.id;
      fleet.push_back(c);
    }
    RouteQuery query;
    query.prompt_tokens = static_cast<std::uint32_t>(prompt.size());
    const WorkerId chosen = *choose_worker(fleet, query);
    history.note(chosen, hashes);
    ++served[chosen.value];
    if (last.contains(session)) {
      ++turns;
      moved += last[session] == chosen ? 0 : 1;
    }
    last[session] = chosen;
  }
  EXPECT_LT(moved, turns / 50);  // load differs by at most three sequences: not worth a move
  EXPECT_GT(*std::min_element(served.begin(), served.end()), 2'000 / 16);
}

}  // namespace
}  // namespace leadline::coordinator
