#include "coordinator/routing/router.h"

#include <algorithm>
#include <tuple>

namespace leadline::coordinator {

namespace {

std::uint64_t cost_of(const RouteCandidate& candidate, const RouteQuery& query) {
  std::uint64_t saved = std::min(candidate.known_prefix_tokens, query.prompt_tokens);
  if (candidate.session) saved += kSessionBonusTokens;
  const std::uint64_t own = query.prompt_tokens + kSessionBonusTokens -
                            std::min<std::uint64_t>(saved, query.prompt_tokens + kSessionBonusTokens);
  return own + candidate.pending_tokens + candidate.in_flight * kTokensPerRunningSequence;
}

}  // namespace

std::optional<transport::WorkerId> choose_worker(const std::vector<RouteCandidate>& candidates,
                                                 const RouteQuery& query) {
  const RouteCandidate* best = nullptr;
  const auto key = [&](const RouteCandidate& c) {
    return std::make_tuple(query.avoid == c.id, cost_of(c, query), c.in_flight, c.id.value);
  };
  for (const RouteCandidate& candidate : candidates) {
    if (!candidate.ready || candidate.in_flight >= candidate.capacity) continue;
    if (best == nullptr || key(candidate) < key(*best)) best = &candidate;
  }
  if (best == nullptr) return std::nullopt;
  return best->id;
}

}  // namespace leadline::coordinator
