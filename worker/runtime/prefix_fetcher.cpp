#include "worker/runtime/prefix_fetcher.h"

#include <algorithm>

namespace leadline::worker {
namespace {

using Clock = std::chrono::steady_clock;
using kvstore::kTierKinds;
using kvstore::TierKind;
using transport::KvSource;
using transport::KvStory;
static_assert(transport::kKvSources == kTierKinds + 1 &&
              static_cast<int>(KvSource::redis) == static_cast<int>(TierKind::redis) + 1);

double now_s() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
std::uint64_t micros(double seconds) {
  return static_cast<std::uint64_t>(std::max(seconds, 0.0) * 1e6);
}

}  // namespace

PrefixFetcher::PrefixFetcher(kvstore::TieredStore& store, BlockMover& mover, SequenceCache& cache,
                             PrefixFetcherOptions options, PrefixFetcherMetrics metrics,
                             std::unique_ptr<kvstore::AccessRecorder> accesses)
    : store_(store),
      mover_(mover),
      cache_(cache),
      options_(options),
      metrics_(std::move(metrics)),
      accesses_(std::move(accesses)) {}

void PrefixFetcher::enter(Entry& e, Stage stage) {
  const auto held = [](Stage s) { return s != Stage::none && s != Stage::staged; };
  held_ += static_cast<std::size_t>(held(stage)) - static_cast<std::size_t>(held(e.stage));
  staged_ +=
      static_cast<std::size_t>(stage == Stage::staged) - static_cast<std::size_t>(e.stage == Stage::staged);
  e.stage = stage;
}

bool PrefixFetcher::holds(SequenceId id) {
  auto it = entries_.find(id);
  if (it == entries_.end()) {
    if (held_ + staged_ >= options_.max_fetches)
      return waits();  // all places hold staged blocks: go on without
    const PrefixHit hit = cache_.peek(id);
    const std::uint32_t pages = hit.tokens / kPageTokens;
    if (hit.soon_tokens > 0)
      return false;  // another computes it now: the scheduler has this one wait for that
    if (cache_.chain(id).size() > pages) {
      begin_survey(id, entries_[id], pages);
    } else {
      entries_.try_emplace(id);
    }
    it = entries_.find(id);
  }
  Entry& e = it->second;
  if (e.stage == Stage::surveying) {
    if (e.survey->finished.load()) {
      choose(id, e);
    } else if (Clock::now() >= e.deadline) {
      enter(e, Stage::none);
    }
  }
  return e.stage != Stage::none && e.stage != Stage::staged;
}

void PrefixFetcher::begin_survey(SequenceId id, Entry& e, std::uint32_t device_pages) {
  const std::span<const kvstore::BlockKey> keys = cache_.chain(id).subspan(device_pages);
  enter(e, Stage::surveying);
  e.first_page = device_pages;
  e.began = Clock::now();
  e.deadline = e.began + options_.survey_deadline;
  e.survey = store_.survey({keys.begin(), keys.end()}, static_cast<std::uint16_t>(options_.first_kv_head),
                           e.deadline);
  record_look(id, device_pages);
}

kvstore::AccessRecord PrefixFetcher::record_of(kvstore::Access access, const kvstore::BlockKey& key,
                                               const kvstore::BlockKey& parent, std::uint32_t depth) const {
  kvstore::AccessRecord r = kvstore::access_of(access, key, parent, depth);
  r.bytes = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(mover_.payload_bytes() * options_.local_kv_heads, UINT32_MAX));
  r.cost_s = static_cast<float>(std::clamp(chooser_.prefill_s(depth * kPageTokens, kPageTokens), 0.0, 1e6));
  return r;
}

// All that the store is asked for, there or not: what another policy would have found is for a replay to say.
void PrefixFetcher::record_look(SequenceId id, std::uint32_t first_page) {
  if (accesses_ == nullptr) return;
  const std::span<const kvstore::BlockKey> keys = cache_.chain(id);
  std::vector<kvstore::AccessRecord> records;
  for (std::uint32_t page = first_page; page < keys.size(); ++page)
    records.push_back(record_of(kvstore::Access::look, keys[page],
                                page == 0 ? cache_.chain_root(id) : keys[page - 1], page));
  accesses_->looked(std::move(records));
}

void PrefixFetcher::record_offers(std::span<const BlockSeal> seals) {
  if (accesses_ == nullptr) return;
  std::vector<kvstore::AccessRecord> records;
  for (const BlockSeal& seal : seals)
    records.push_back(record_of(kvstore::Access::put, seal.key, seal.parent, seal.depth));
  accesses_->offered(std::move(records));
}

// The line through a first page and a later one.
void PrefixFetcher::tell_cost(BlockPlan& plan) const {
  constexpr std::uint32_t kLater = 256;
  constexpr double kMost = 4e9;  // u32
  const double first_s = chooser_.prefill_s(0, kPageTokens);
  const double growth_s = (chooser_.prefill_s(kLater * kPageTokens, kPageTokens) - first_s) / kLater;
  plan.page_us = static_cast<std::uint32_t>(std::clamp(first_s * 1e6, 0.0, kMost));
  plan.page_growth_ns = static_cast<std::uint32_t>(std::clamp(growth_s * 1e9, 0.0, kMost));
}

void PrefixFetcher::choose(SequenceId id, Entry& e) {
  std::vector<kvstore::HitPiece> pieces;
  for (const TierKind tier : e.survey->tiers) {
    const auto number = static_cast<std::uint8_t>(tier);
    if (pieces.empty() || pieces.back().tier != number) pieces.push_back({number, 0, 0, 0});
    pieces.back().tokens += kPageTokens;
    pieces.back().blocks += 1;
    pieces.back().bytes += mover_.payload_bytes() * options_.local_kv_heads;
  }
  e.survey.reset();
  const auto known = static_cast<std::uint32_t>(cache_.known_tokens(id));
  e.choice = chooser_.choose(pieces, e.first_page * kPageTokens, known, now_s());
  count(e, pieces);
  if (e.choice.blocks < e.choice.offered_blocks)
    hindsight_.passed_over(id, (e.first_page + e.choice.blocks) * kPageTokens,
                           (e.first_page + e.choice.offered_blocks) * kPageTokens,
                           e.choice.passed_over_fetch_s);
  if (e.choice.probe && !probe_) begin_probe(id, e, pieces);
  if (e.choice.blocks == 0) {
    enter(e, Stage::none);
    if (!pieces.empty()) e.waited_s = seconds_since(e.began);
    return;
  }
  std::uint32_t covered = 0;
  for (const kvstore::HitPiece& piece : pieces) {
    if (covered >= e.choice.blocks) break;
    e.last_tier = piece.tier;
    covered += piece.blocks;
  }
  e.pages = e.choice.blocks;
  enter(e, Stage::starting);
}

// The first blocks of the hit that lie in the tier.
void PrefixFetcher::begin_probe(SequenceId id, const Entry& e, std::span<const kvstore::HitPiece> pieces) {
  const std::span<const kvstore::BlockKey> keys = cache_.chain(id);
  std::uint32_t page = e.first_page, blocks = e.choice.probe_blocks;
  for (const kvstore::HitPiece& piece : pieces) {
    if (piece.tier == *e.choice.probe) {
      blocks = std::min(blocks, piece.blocks);
      break;
    }
    page += piece.blocks;
  }
  if (page >= keys.size()) return;
  Probe& probe = probe_.emplace();
  probe.tier = *e.choice.probe;
  probe.start.fetch = next_fetch_++;
  probe.start.first_depth = page;
  probe.start.deadline_us =
      static_cast<std::uint32_t>(std::chrono::microseconds(options_.longest_probe).count());
  probe.start.parent = page == 0 ? cache_.chain_root(id) : keys[page - 1];
  const auto wanted = keys.subspan(page, std::min<std::size_t>(blocks, keys.size() - page));
  probe.start.keys.assign(wanted.begin(), wanted.end());
}

void PrefixFetcher::fill_probe(BlockPlan& plan) {
  if (!probe_) return;
  if (!probe_->begun) {
    probe_->begun = true;
    probe_->deadline = Clock::now() + options_.longest_probe;
    plan.starts.push_back(probe_->start);
    return;
  }
  const kvstore::BlockFetchPtr mine = mover_.find(probe_->start.fetch);
  if (mine == nullptr || mine->finished() || Clock::now() >= probe_->deadline)
    plan.polls.push_back(probe_->start.fetch);
}

void PrefixFetcher::settle_probe() {
  const std::uint64_t each = mover_.payload_bytes() * options_.local_kv_heads;
  if (const kvstore::BlockFetchPtr mine = mover_.find(probe_->start.fetch); mine != nullptr) {
    const kvstore::TierShare share = mine->shares()[probe_->tier];
    const bool nothing = share.blocks == 0 && (Clock::now() >= probe_->deadline || is_down(probe_->tier));
    if (!mine->finished() ||
        nothing)  // an idle worker looks late: no more than the deadline counts as waited
      chooser_.timed_out(probe_->tier, probe_->start.keys.size() * each,
                         std::chrono::duration<double>(options_.longest_probe).count(), now_s());
    else if (share.blocks > 0)
      chooser_.loaded(probe_->tier, share.blocks * mover_.payload_bytes(), share.seconds, now_s());
  }
  drops_.push_back(probe_->start.fetch);
  probe_.reset();
}

void PrefixFetcher::count(const Entry& e, std::span<const kvstore::HitPiece> pieces) const {
  std::uint32_t before = 0;
  for (const kvstore::HitPiece& piece : pieces) {
    const std::uint32_t taken = std::min(piece.blocks, e.choice.blocks - std::min(before, e.choice.blocks));
    const FetchDecision decision = taken == piece.blocks ? FetchDecision::fetch
                                   : taken > 0           ? FetchDecision::part
                                                         : FetchDecision::recompute;
    metrics_.decisions[piece.tier][decision].inc();
    before += piece.blocks;
  }
}

void PrefixFetcher::fill(BlockPlan& plan) {
  plan.drops.insert(plan.drops.end(), drops_.begin(), drops_.end());
  drops_.clear();
  record_offers(plan.seals);
  if (!plan.seals.empty()) tell_cost(plan);
  fill_probe(plan);
  for (auto& [id, e] : entries_) {
    if (e.stage == Stage::starting) {
      const std::span<const kvstore::BlockKey> keys = cache_.chain(id);
      BlockFetchStart start;
      start.fetch = e.fetch = next_fetch_++;
      start.first_depth = e.first_page;
      const double longest = std::chrono::duration<double>(options_.longest_fetch).count();
      start.deadline_us = static_cast<std::uint32_t>(std::min(e.choice.deadline_s, longest) * 1e6);
      start.parent = e.first_page == 0 ? cache_.chain_root(id) : keys[e.first_page - 1];
      const auto wanted =
          keys.subspan(e.first_page, std::min<std::size_t>(e.pages, keys.size() - e.first_page));
      start.keys.assign(wanted.begin(), wanted.end());
      e.deadline = Clock::now() + std::chrono::microseconds(start.deadline_us);
      plan.starts.push_back(std::move(start));
      enter(e, Stage::fetching);
    } else if (e.stage == Stage::fetching) {
      const kvstore::BlockFetchPtr mine = mover_.find(e.fetch);
      if (mine == nullptr || mine->finished() || Clock::now() >= e.deadline) plan.polls.push_back(e.fetch);
    }
  }
}

void PrefixFetcher::polled(const BlockPlan& plan, std::span<const BlockPoll> polls) {
  for (std::size_t i = 0; i < polls.size(); ++i) {
    if (polls[i].finished == 0) continue;
    if (probe_ && probe_->start.fetch == plan.polls[i]) settle_probe();
    for (auto& [id, e] : entries_)
      if (e.stage == Stage::fetching && e.fetch == plan.polls[i]) settle(e, polls[i]);
  }
}

bool PrefixFetcher::is_down(std::uint8_t tier) const {
  const kvstore::Tier* asked = store_.of(static_cast<TierKind>(tier));
  return asked != nullptr && asked->state() == kvstore::TierState::down;
}

// What came until the deadline says how long the whole would have taken; nothing came: the first batch took
// at least so long.
void PrefixFetcher::tell_late(const Entry& e, const BlockPoll& poll) {
  const kvstore::TierShare& share = e.shares[e.last_tier];
  const std::uint64_t came = share.blocks * mover_.payload_bytes();
  const std::uint64_t missing = (e.pages - poll.leading) * mover_.payload_bytes() * options_.local_kv_heads;
  const auto batch = static_cast<double>(store_.load_batch() * mover_.payload_bytes());
  const auto whole = static_cast<double>(came + missing);
  const double whole_s =
      came == 0 ? e.waited_s * whole / batch : share.seconds * whole / static_cast<double>(came);
  chooser_.timed_out(e.last_tier, came + missing, std::max(whole_s, e.waited_s), now_s());
}

void PrefixFetcher::settle(Entry& e, const BlockPoll& poll) {
  const kvstore::BlockFetchPtr mine = mover_.find(e.fetch);
  e.waited_s = seconds_since(e.began);
  metrics_.wait_seconds.observe(e.waited_s);
  if (mine != nullptr) {
    e.shares = mine->shares();
    // A tier that gives up, at the deadline or before, ends the fetch, too.
    const bool late =
        poll.leading < e.pages && (!mine->finished() || Clock::now() >= e.deadline || is_down(e.last_tier));
    for (std::size_t tier = 0; tier < kTierKinds; ++tier)
      if (e.shares[tier].blocks > 0 && !(late && tier == e.last_tier))
        // By the pages' bytes, as choices are made: a codec's bytes differ from block to block.
        chooser_.loaded(static_cast<std::uint8_t>(tier), e.shares[tier].blocks * mover_.payload_bytes(),
                        e.shares[tier].seconds, now_s());
    if (late) {
      metrics_.timeouts.inc();
      tell_late(e, poll);
    }
  }
  metrics_.regret_seconds[FetchRegret::fetched].inc(kvstore::regret_s(e.choice, e.waited_s));
  e.pages = std::min(e.pages, poll.leading);
  enter(e, e.pages == 0 ? Stage::none : Stage::staged);
  for (std::uint32_t page = 0; mine != nullptr && page < e.pages; ++page) e.tiers.push_back(mine->tier(page));
  if (e.pages == 0) drops_.push_back(e.fetch);
}

StagedBlocks PrefixFetcher::staged(SequenceId id) const {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.stage != Stage::staged) return {};
  return {it->second.fetch, it->second.first_page, it->second.pages};
}

std::uint32_t PrefixFetcher::hit_tokens(SequenceId id, const PrefixHit& device) const {
  const StagedBlocks s = staged(id);
  if (s.pages == 0 || s.first_page * kPageTokens > device.tokens) return device.tokens;
  return std::max(device.tokens, s.end_page() * kPageTokens);
}

void PrefixFetcher::tell(const Entry& e, const PrefixHit& hit, KvStory& story) const {
  story.wait_us = micros(e.waited_s);
  story.fetch_us = micros(e.choice.fetch_s);
  story.recompute_us = hit.tokens == 0 ? 0 : micros(chooser_.prefill_s(0, hit.tokens));
  story.offered_tokens = e.choice.offered_blocks * kPageTokens;
  for (std::size_t tier = 0; tier < kTierKinds; ++tier)
    story.reads[tier] = {e.shares[tier].bytes, micros(e.shares[tier].seconds)};
  if (hit.tokens > hit.restored_tokens)
    story.runs.push_back({KvSource::device, hit.tokens - hit.restored_tokens});
  // The last pages of the hit are the restored ones.
  const std::uint32_t end = hit.tokens / kPageTokens;
  for (std::uint32_t page = end - hit.restored_tokens / kPageTokens; page < end; ++page) {
    const TierKind tier = e.tiers[page - e.first_page];
    metrics_.tokens[static_cast<std::size_t>(tier)].inc(kPageTokens);
    const auto source = static_cast<KvSource>(static_cast<int>(tier) + 1);
    if (story.runs.empty() ||
        (story.runs.back().source != source && story.runs.size() < transport::kMaxKvRuns))
      story.runs.push_back({source, 0});
    story.runs.back().tokens += kPageTokens;
    story.runs.back().source =
        std::max(story.runs.back().source, source);  // the slower, where runs are joined
  }
}

PrefixHit PrefixFetcher::admit(SequenceId id, KvStory& story) {
  const StagedBlocks blocks = staged(id);
  const PrefixHit hit = cache_.admit(id, blocks);
  const auto it = entries_.find(id);
  tell(it == entries_.end() ? Entry{} : it->second, hit, story);
  if (it == entries_.end()) return hit;
  const Entry& e = it->second;
  if (e.stage == Stage::staged) drops_.push_back(e.fetch);
  enter(it->second, Stage::none);
  entries_.erase(it);
  return hit;
}

void PrefixFetcher::forget(SequenceId id) {
  hindsight_.forget(id);
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  if (it->second.stage == Stage::fetching || it->second.stage == Stage::staged)
    drops_.push_back(it->second.fetch);
  enter(it->second, Stage::none);
  entries_.erase(it);
}

void PrefixFetcher::publish() {
  constexpr std::chrono::milliseconds kPause{200};
  if (Clock::now() - published_ < kPause) return;
  published_ = Clock::now();
  store_.publish();
}

// Prefill is learned from steps of one sequence; of others a sequence's time is its share of the rows.
void PrefixFetcher::stepped(const StepPlan& plan, double forward_s) {
  if (plan.sequences.size() == 1 && plan.sequences[0].tokens.size() >= kPageTokens)
    chooser_.prefilled(static_cast<std::uint32_t>(plan.sequences[0].tokens.size()),
                       plan.sequences[0].first_position, forward_s);
  if (!hindsight_.watches()) return;
  std::size_t all = 0;
  for (const SequenceStep& rows : plan.sequences) all += rows.tokens.size();
  for (const SequenceStep& rows : plan.sequences) {
    const double share = static_cast<double>(rows.tokens.size()) / static_cast<double>(all);
    if (const auto lost =
            hindsight_.computed(rows.sequence, rows.first_position,
                                static_cast<std::uint32_t>(rows.tokens.size()), forward_s * share))
      metrics_.regret_seconds[FetchRegret::computed].inc(*lost);
  }
}

}  // namespace leadline::worker
