#include "policy/trainer/reward.h"

#include <algorithm>
#include <bit>

namespace leadline::policy {

namespace {

constexpr double kPriorTokens = 10;  // a sequence of few tokens says little about itself

}  // namespace

std::size_t batch_bucket(std::int32_t batch_rows) {
  const auto rows = static_cast<std::uint32_t>(std::max(batch_rows, 1));
  return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(rows)) - 1, kBatchBuckets - 1);
}

double Lambda::at(const Trajectory& round) const {
  const auto found = relative.find(round.sequence);
  return of[batch_bucket(round.batch_rows)] * (found == relative.end() ? 1.0 : found->second);
}

Lambda behaviour_lambda(std::span<const Trajectory> rounds) {
  std::array<double, kBatchBuckets> tokens{}, us{};
  const auto cost_of = [](const Trajectory& round) {
    double sum = 0;
    for (const LoggedDecision& decision : round.decisions) sum += decision.cost_us;
    return sum;
  };
  for (const Trajectory& round : rounds) {
    const std::size_t bucket = batch_bucket(round.batch_rows);
    tokens[bucket] += round.tokens;
    us[bucket] += cost_of(round);
  }
  Lambda lambda;
  double known = 0;
  for (std::size_t b = kBatchBuckets; b-- > 0;)
    if (us[b] > 0) known = tokens[b] / us[b];
  for (std::size_t b = 0; b < kBatchBuckets; ++b) {
    if (us[b] > 0) known = tokens[b] / us[b];
    lambda.of[b] = known;
  }
  struct Seen {
    double tokens = kPriorTokens, expected = kPriorTokens;  // won, and what its buckets' rates would have won
  };
  std::unordered_map<std::uint64_t, Seen> sequences;
  for (const Trajectory& round : rounds) {
    Seen& seen = sequences[round.sequence];
    seen.tokens += round.tokens;
    seen.expected += lambda.of[batch_bucket(round.batch_rows)] * cost_of(round);
  }
  for (const auto& [sequence, seen] : sequences) lambda.relative[sequence] = seen.tokens / seen.expected;
  return lambda;
}

float reward_of(const Trajectory& round, std::size_t index, const Lambda& lambda) {
  const LoggedDecision& decision = round.decisions[index];
  const double spent = lambda.at(round) * static_cast<double>(decision.cost_us);
  const bool ran_draft =
      decision.kind != DecisionKind::round_start &&
      (decision.action.kind == ActionKind::go_on || decision.action.kind == ActionKind::draft ||
       decision.action.kind == ActionKind::keep_and_stop);
  double won = ran_draft && round.accepted > decision.drafted ? 1 : 0;
  if (index + 1 == round.decisions.size()) won += 1;  // the model's own
  return static_cast<float>(won - spent);
}

}  // namespace leadline::policy
