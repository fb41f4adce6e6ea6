#include "policy/speculation_guard.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace leadline::policy {

std::size_t SpeculationGuard::bucket_of(std::uint32_t decoding) {
  return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(std::max(decoding, 1U))) - 1,
                               kGuardBuckets - 1);
}

double SpeculationGuard::saving(std::uint32_t decoding) const {
  const Bucket& b = bucket(decoding);
  if (b.plain.steps < settings_.settle || b.speculating.steps < settings_.settle) return 0;
  return b.plain.per_token() - b.speculating.per_token();
}

GuardChoice SpeculationGuard::choose(std::uint32_t decoding) const {
  const Bucket& b = bucket(decoding);
  // First a few plain steps, then a few with drafts: both sides become known.
  if (b.plain.steps < settings_.settle) return GuardChoice::plain;
  if (b.speculating.steps < settings_.settle) return GuardChoice::speculate;
  if (!b.off) return b.since_plain >= settings_.plain_every ? GuardChoice::plain : GuardChoice::speculate;
  return b.trying > 0 ? GuardChoice::speculate : GuardChoice::plain;
}

void SpeculationGuard::observe(const StepCost& step) {
  if (step.mixed || !(step.tokens > 0) || !(step.us > 0) || !std::isfinite(step.us)) return;
  Bucket& b = buckets_[bucket_of(step.decoding)];
  Side& side = step.speculated ? b.speculating : b.plain;
  const double expected = b.plain.per_token() * step.tokens;
  side.us = settings_.decay * side.us + step.us;
  side.tokens = settings_.decay * side.tokens + step.tokens;
  side.steps = std::min(side.steps + 1, 1U << 30);
  b.spent_us += step.us;
  b.since_plain = step.speculated ? b.since_plain + 1 : 0;
  if (step.speculated && b.plain.steps >= settings_.settle)
    (expected >= step.us ? totals_.saved_us : totals_.lost_us) += std::abs(expected - step.us);
  if (!b.off) {
    if (step.speculated) judge(b);
    return;
  }
  if (b.trying > 0 && step.speculated) {
    b.lost_us += std::max(0.0, step.us - expected);
    if (--b.trying == 0) judge(b);
    return;
  }
  if (b.wait > 0 && --b.wait > 0) return;
  if (b.lost_us > settings_.budget * b.spent_us) return;  // no budget: wait on, step by step
  b.trying = settings_.trial;
  b.speculating = {};  // times have changed, or why try: only the trial counts
  ++totals_.trials;
}

// After a speculating step: does it pay?
void SpeculationGuard::judge(Bucket& b) {
  const std::uint32_t needed = b.off ? settings_.trial : settings_.settle;
  if (b.plain.steps < settings_.settle || b.speculating.steps < needed) return;
  const bool pays = b.speculating.per_token() <= (1 + settings_.margin) * b.plain.per_token();
  if (pays) {
    b.off = false;
    b.next_wait = settings_.first_wait;
    b.speculating.steps = std::max(b.speculating.steps, settings_.settle);
    return;
  }
  if (!b.off) ++totals_.switched_off;
  b.next_wait =
      b.off ? std::min(2 * std::max(b.next_wait, 1U), settings_.longest_wait) : settings_.first_wait;
  b.off = true;
  b.wait = b.next_wait;
  b.speculating.steps = std::max(b.speculating.steps, settings_.settle);  // off for a reason that is known
}

}  // namespace leadline::policy
