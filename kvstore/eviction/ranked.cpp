#include "kvstore/eviction/ranked.h"

#include <cmath>

namespace leadline::kvstore {
namespace {

constexpr std::size_t kDrawFrom = 64;
constexpr std::size_t kRememberedMore = 1024;

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace

RankedEviction::RankedEviction(RankedOptions options, const ReuseRanker& ranker,
                               std::function<double()> now_us)
    : options_(std::move(options)),
      ranker_(ranker),
      now_us_(std::move(now_us)),
      fallback_(make_eviction(kDefaultEviction, options_.capacity_bytes)),
      random_(options_.seed) {}

void RankedEviction::count(EvictedBy by) {
  ++counts_.by[static_cast<std::size_t>(by)];
  if (options_.events.evicted) options_.events.evicted(by);
}

void RankedEviction::count(RankerAnswer answer) {
  ++counts_.answers[static_cast<std::size_t>(answer)];
  if (options_.events.answered) options_.events.answered(answer);
}

void RankedEviction::count(ShadowReturn what) {
  ++counts_.returns[static_cast<std::size_t>(what)];
  if (options_.events.returned) options_.events.returned(what);
}

void RankedEviction::insert(const BlockKey& key, const BlockFacts& facts, double now_s) {
  fallback_->insert(key, facts, now_s);
  if (Entry* known = chains_.find(key)) {
    known->facts.cost_s = facts.cost_s;
    const bool leaf = leaves_.erase(known) != 0;
    known->stamp = ++stamp_;
    ++known->history.uses;
    known->history.last_s = now_s;
    if (leaf) leaves_.insert(known);
    used(key);
    return;
  }
  Entry& entry = chains_.add(key, facts, [this](Entry& parent) { leaves_.erase(&parent); });
  entry.history = {now_s, now_s, 0};
  entry.stamp = ++stamp_;
  if (left_.erase(key) != 0) count(ShadowReturn::left);
  if (thrown_out_.erase(key) != 0) {  // the guard: it was thrown out although it was needed
    entry.guarded = true;
    guarded_.push_back(key);
    ++owed_;
  }
  if (chains_.leaf(key)) leaves_.insert(&entry);
}

void RankedEviction::touch(const BlockKey& key, double now_s) {
  fallback_->touch(key, now_s);
  Entry* entry = chains_.find(key);
  if (entry == nullptr) return;
  const bool leaf = leaves_.erase(entry) != 0;
  entry->stamp = ++stamp_;
  ++entry->history.uses;
  entry->history.last_s = now_s;
  if (leaf) leaves_.insert(entry);
  used(key);
}

void RankedEviction::used(const BlockKey& key) {
  if (spared_.erase(key) != 0) count(ShadowReturn::spared);
}

void RankedEviction::remove(const BlockKey& key) {
  Entry* entry = chains_.find(key);
  if (entry == nullptr) return;
  leaves_.erase(entry);
  spared_.erase(key);
  chains_.remove(BlockKey(key), [this](Entry& parent) { leaves_.insert(&parent); });
}

void RankedEviction::erase(const BlockKey& key) {
  fallback_->erase(key);
  remove(key);
}

void RankedEviction::begin_phase_if_over() {
  if (!leaves_.empty() && (*leaves_.begin())->stamp <= phase_stamp_) return;
  phase_stamp_ = stamp_;
  thrown_out_.clear();
  left_.clear();
  spared_.clear();
  for (const BlockKey& key : guarded_)
    if (Entry* entry = chains_.find(key)) entry->guarded = false;
  guarded_.clear();
  owed_ = 0;
}

RankedEviction::Entry* RankedEviction::unused_in_phase() {
  std::vector<Entry*> unused;
  for (Entry* entry : leaves_) {
    if (entry->stamp > phase_stamp_ || unused.size() == kDrawFrom) break;
    unused.push_back(entry);
  }
  return unused.empty() ? nullptr : unused[next_random(random_) % unused.size()];
}

RankedEviction::Entry* RankedEviction::ask(double now_s) {
  if (resting_ > 0) {
    --resting_;
    count(RankerAnswer::resting);
    return nullptr;
  }
  std::array<Entry*, RankedOptions::kMaxCandidates> entries{};
  std::array<ReuseFeatures, RankedOptions::kMaxCandidates> features{};
  std::array<float, RankedOptions::kMaxCandidates> seconds{};
  const std::size_t wanted = std::min(options_.candidates, RankedOptions::kMaxCandidates);
  std::size_t n = 0, looked_at = 0;
  for (Entry* entry : leaves_) {
    if (n == wanted || ++looked_at > 4 * wanted) break;
    if (entry->guarded) continue;
    features[n] = reuse_features(entry->facts.bytes, entry->facts.cost_s, entry->history, now_s);
    entries[n++] = entry;
  }
  if (n == 0) return nullptr;
  ++counts_.asked;
  const double began = now_us_();
  const bool answered = ranker_.rank(std::span(features).first(n), std::span(seconds).first(n));
  if (now_us_() - began > options_.deadline_us) {
    count(RankerAnswer::late);
    if (++late_in_a_row_ >= options_.late_limit) resting_ = options_.rest_evictions, late_in_a_row_ = 0;
    return nullptr;
  }
  late_in_a_row_ = 0;
  Entry* least = nullptr;
  double least_worth = 0;
  for (std::size_t i = 0; answered && i < n; ++i) {
    if (!(seconds[i] > 0) || !std::isfinite(seconds[i])) {
      least = nullptr;
      break;
    }
    const double held = static_cast<double>(std::max<std::uint64_t>(entries[i]->facts.bytes, 1)) * seconds[i];
    const double worth = std::max(entries[i]->facts.cost_s, 1e-9) / held;
    if (least == nullptr || worth < least_worth) least = entries[i], least_worth = worth;
  }
  if (least == nullptr) count(RankerAnswer::none);
  return least;
}

// Bounded by what is resident, and some more.
void RankedEviction::compare(const BlockKey& left, const BlockKey& named) {
  count(left == named ? RankerAnswer::agreed : RankerAnswer::differed);
  if (left == named || left_.size() >= chains_.size() + kRememberedMore) return;
  left_.insert(left);
  spared_.insert(named);
}

std::optional<BlockKey> RankedEviction::evict(double now_s) {
  if (chains_.size() == 0) return std::nullopt;
  begin_phase_if_over();
  EvictedBy by = EvictedBy::fallback;
  Entry* chosen = nullptr;
  if (!options_.shadow && owed_ > 0) {
    --owed_;
    chosen = unused_in_phase();
    if (chosen != nullptr) by = EvictedBy::guard;
  }
  if (chosen == nullptr) {
    chosen = ask(now_s);
    if (chosen != nullptr && !options_.shadow) {
      by = EvictedBy::ranker;
      count(RankerAnswer::taken);
    }
  }
  std::optional<BlockKey> key;
  if (by == EvictedBy::fallback) {
    key = fallback_->evict(now_s);
    if (chosen != nullptr && key) compare(*key, *chosen->key);
  } else {
    key = *chosen->key;
    fallback_->erase(*key);
  }
  count(by);
  if (!key) return std::nullopt;
  remove(*key);
  if (thrown_out_.size() < chains_.size() + kRememberedMore) thrown_out_.insert(*key);
  return key;
}

}  // namespace leadline::kvstore
