#pragma once
// router: which worker takes a sequence: the one on which it will start soonest, counted in prompt tokens
// still to compute: what it already holds of this prompt is saved, what waits there is paid. Stickiness is
// this saving, corrected by load. Thread: pure.

#include <cstdint>
#include <optional>
#include <vector>

#include "transport/control/ids.h"

namespace leadline::coordinator {

struct RouteCandidate {
  transport::WorkerId id;
  bool ready = false;                     // loading, draining, stalled, lost or just handed back: false
  std::uint32_t in_flight = 0;            // sequences
  std::uint32_t capacity = 0;             // sequences that it may be given in all
  std::uint64_t pending_tokens = 0;       // prompt tokens that wait there
  std::uint32_t known_prefix_tokens = 0;  // of this prompt, by what we sent it before
  bool session = false;                   // served this session's last turn
};

struct RouteQuery {
  std::uint32_t prompt_tokens = 0;
  std::optional<transport::WorkerId> avoid;  // taken only when there is no other
};

// Costs in prompt tokens. A running sequence slows prefill as this many tokens would; a session's worker is
// worth as many even when no prefix is known (its cache may hold more than our bounded history remembers).
inline constexpr std::uint64_t kTokensPerRunningSequence = 32;
inline constexpr std::uint64_t kSessionBonusTokens = 256;

// Ready with room, least cost; ties by fewer in flight, then the smaller id. nullopt: wait.
std::optional<transport::WorkerId> choose_worker(const std::vector<RouteCandidate>& candidates,
                                                 const RouteQuery& query);

}  // namespace leadline::coordinator
