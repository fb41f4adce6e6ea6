#include "kvstore/fetch_chooser.h"

#include <algorithm>
#include <cmath>

#include "monitoring/check.h"

namespace leadline::kvstore {
namespace {

constexpr std::uint32_t kProbeBlocks = 8;
constexpr std::uint32_t kPlaces = 16;  // where a piece may be cut

// Sum over rows of their positions: attention's share of a prefill.
double position_sum(std::uint32_t first, std::uint32_t tokens) {
  const double n = tokens;
  return n * (static_cast<double>(first) + n / 2);
}

}  // namespace

FetchChooser::FetchChooser(const FetchChooserOptions& options)
    : options_(options), prefill_(options.prefill_s_per_token, options.prefill_s_per_token * 1e-5) {
  for (const TierPrior& prior : options.tiers)
    tiers_.push_back({OnlineFit(prior.latency_s, 1 / std::max(prior.bytes_per_s, 1.0))});
}

void FetchChooser::loaded(std::uint8_t tier, std::uint64_t bytes, double seconds, double now_s) {
  LEADLINE_CHECK(tier < tiers_.size(), "tier index");
  TierModel& model = tiers_[tier];
  model.time.observe(1, static_cast<double>(bytes), seconds);
  model.last_read_s = std::max(model.last_read_s, now_s);
  model.timeouts = 0;
  ++model.reads;
  model.held_until_s = -1e18;
}

void FetchChooser::timed_out(std::uint8_t tier, std::uint64_t bytes, double waited_s, double now_s) {
  LEADLINE_CHECK(tier < tiers_.size(), "tier index");
  TierModel& model = tiers_[tier];
  // At least this long: counted as such where the model believed less.
  if (waited_s > model.time.predict(1, static_cast<double>(bytes)))
    model.time.observe(1, static_cast<double>(bytes), waited_s);
  model.last_read_s = std::max(model.last_read_s, now_s);
  const double factor = std::pow(2.0, std::min(model.timeouts, 20));
  model.held_until_s = now_s + std::min(options_.hold_off_s * factor, options_.max_hold_off_s);
  ++model.timeouts;
}

void FetchChooser::prefilled(std::uint32_t tokens, std::uint32_t first_position, double seconds) {
  if (tokens != 0) prefill_.observe(tokens, position_sum(first_position, tokens), seconds);
}

double FetchChooser::fetch_s(std::uint8_t tier, std::uint64_t bytes) const {
  LEADLINE_CHECK(tier < tiers_.size(), "tier index");
  return bytes == 0 ? 0 : tiers_[tier].time.predict(1, static_cast<double>(bytes));
}

double FetchChooser::cautious_s(std::uint8_t tier, std::uint64_t bytes) const {
  return fetch_s(tier, bytes) * (1 + options_.caution * tiers_[tier].time.spread());
}

double FetchChooser::prefill_s(std::uint32_t first_position, std::uint32_t tokens) const {
  return tokens == 0 ? 0 : prefill_.predict(tokens, position_sum(first_position, tokens));
}

bool FetchChooser::held_off(std::uint8_t tier, double now_s) const {
  LEADLINE_CHECK(tier < tiers_.size(), "tier index");
  return now_s < tiers_[tier].held_until_s;
}

// What a leading part of a hit takes from each tier; one tier's share is read in one go.
struct FetchChooser::Part {
  std::array<std::uint64_t, FetchChooserOptions::kTiers> bytes{};
  std::uint32_t blocks = 0, tokens = 0;
};

double FetchChooser::part_s(const Part& part, bool careful) const {
  double s = 0;
  for (std::uint8_t t = 0; t < part.bytes.size(); ++t)
    if (part.bytes[t] != 0) s += careful ? cautious_s(t, part.bytes[t]) : fetch_s(t, part.bytes[t]);
  return s;
}

bool FetchChooser::worth_a_probe(std::uint8_t tier, double now_s) const {
  const TierModel& model = tiers_[tier];
  if (held_off(tier, now_s)) return false;
  return model.timeouts > 0 || now_s - model.last_read_s >= options_.probe_after_s;
}

FetchChoice FetchChooser::choose(std::span<const HitPiece> pieces, std::uint32_t have_tokens,
                                 std::uint32_t prompt_tokens, double now_s) const {
  const std::uint32_t rest = prompt_tokens - std::min(have_tokens, prompt_tokens);
  FetchChoice best;
  best.recompute_s = prefill_s(have_tokens, rest);
  double best_s = best.recompute_s;
  Part before;
  bool reachable = true;
  for (const HitPiece& piece : pieces) {
    LEADLINE_CHECK(piece.tier < tiers_.size(), "tier index");
    // After a timeout the first load is a probe's, never one that a request waits for.
    reachable = reachable && tiers_[piece.tier].timeouts == 0 && !held_off(piece.tier, now_s);
    // A part of a piece can be best, too; both costs are smooth in its length, so some places are enough.
    const std::uint32_t places = std::clamp<std::uint32_t>(piece.blocks, 1, kPlaces);
    for (std::uint32_t place = 1; reachable && place <= places && piece.blocks != 0; ++place) {
      const std::uint64_t blocks = std::uint64_t{piece.blocks} * place / places;
      Part part = before;
      part.blocks += static_cast<std::uint32_t>(blocks);
      part.tokens += static_cast<std::uint32_t>(piece.tokens * blocks / piece.blocks);
      part.bytes[piece.tier] += piece.bytes / piece.blocks * blocks;
      const std::uint32_t upto = std::min(part.tokens, rest);
      const double total = part_s(part, true) + prefill_s(have_tokens + upto, rest - upto);
      if (total >= best_s) continue;
      best_s = total;
      best.blocks = part.blocks;
      best.tokens = upto;
      best.fetch_s = part_s(part, false);
    }
    before.blocks += piece.blocks;
    before.tokens += piece.tokens;
    before.bytes[piece.tier] += piece.bytes;
    if (best.blocks < before.blocks && !best.probe && worth_a_probe(piece.tier, now_s)) {
      best.probe = piece.tier;
      // Two sizes in turn, or latency and bandwidth could not be told apart.
      best.probe_blocks = tiers_[piece.tier].reads % 2 == 0 ? 1 : std::min(piece.blocks, kProbeBlocks);
    }
  }
  best.saved_s = best.recompute_s - prefill_s(have_tokens + best.tokens, rest - best.tokens);
  best.deadline_s = best.blocks == 0 ? 0 : std::max(best.saved_s, options_.least_deadline_s);
  best.offered_blocks = before.blocks;
  const std::uint32_t passed = std::min(before.tokens, rest) - best.tokens;
  best.passed_over_fetch_s = std::max(part_s(before, false) - best.fetch_s, 0.0);
  best.passed_over_saved_s = prefill_s(have_tokens + best.tokens, passed);
  return best;
}

double regret_s(const FetchChoice& choice, double fetched_s, double computed_s) {
  double regret = 0;
  if (choice.blocks != 0) regret += std::max(0.0, fetched_s - choice.saved_s);
  if (choice.blocks < choice.offered_blocks) regret += std::max(0.0, computed_s - choice.passed_over_fetch_s);
  return regret;
}

}  // namespace leadline::kvstore
