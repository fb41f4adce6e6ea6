#include "kvstore/tiered_store.h"

#include <algorithm>
#include <numeric>

#include "monitoring/check.h"

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kOne = 1;  // weight of a load: they are counted, not weighed

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ReadEnd end_of(GetOutcome outcome) {
  switch (outcome) {
    case GetOutcome::hit:
      return ReadEnd::hit;
    case GetOutcome::miss:
      return ReadEnd::miss;
    case GetOutcome::corrupt:
      return ReadEnd::corrupt;
    case GetOutcome::unavailable:
      return ReadEnd::unavailable;
  }
  return ReadEnd::unavailable;
}

StoreEnd end_of(PutOutcome outcome) {
  switch (outcome) {
    case PutOutcome::stored:
      return StoreEnd::stored;
    case PutOutcome::present:
      return StoreEnd::present;
    case PutOutcome::full:
      return StoreEnd::full;
    case PutOutcome::unavailable:
      return StoreEnd::unavailable;
  }
  return StoreEnd::unavailable;
}

}  // namespace

TieredStore::TieredStore(std::vector<std::unique_ptr<Tier>> tiers, TieredStoreOptions options,
                         StoreMetrics metrics)
    : options_(options), metrics_(std::move(metrics)) {
  for (std::unique_ptr<Tier>& tier : tiers) {
    auto lane = std::make_unique<Lane>();
    lane->tier = std::move(tier);
    lane->loads = std::make_unique<JobQueue>(options_.queued_loads * kOne);
    if (lane->tier->waits())
      lane->stores =
          std::make_unique<JobQueue>(options_.queue_bytes, [this, t = lane->tier.get()] { t->start(stop_); });
    lanes_.push_back(std::move(lane));
  }
  sealing_ = std::make_unique<JobQueue>(options_.queue_bytes);
}

TieredStore::~TieredStore() {
  close(std::chrono::milliseconds(0));
}

void TieredStore::close(std::chrono::milliseconds patience) {
  const Clock::time_point until = Clock::now() + patience;
  const auto left = [&] {
    return std::max(std::chrono::milliseconds(0),
                    std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()));
  };
  set_notifier({});
  if (patience.count() == 0) stop_ = true;
  sealing_->close(left());
  for (const auto& lane : lanes_) {
    if (lane->stores != nullptr) lane->stores->close(left());
  }
  stop_ = true;
  for (const auto& lane : lanes_) lane->loads->close(std::chrono::milliseconds(0));
}

void TieredStore::wait_idle() {
  sealing_->wait_idle();
  for (const auto& lane : lanes_) {
    lane->loads->wait_idle();
    if (lane->stores != nullptr) lane->stores->wait_idle();
  }
}

void TieredStore::set_notifier(std::function<void()> notify) {
  std::lock_guard lock(notify_mutex_);
  notify_ = std::move(notify);
}

void TieredStore::notify() {
  std::lock_guard lock(notify_mutex_);
  if (notify_) notify_();
}

const Tier* TieredStore::of(TierKind kind) const {
  for (const auto& lane : lanes_)
    if (lane->tier->kind() == kind) return lane->tier.get();
  return nullptr;
}

void TieredStore::publish() const {
  for (const auto& lane : lanes_) {
    const TierMetrics& m = metrics_.of(lane->tier->kind());
    const TierUsage usage = lane->tier->usage();
    m.capacity_bytes.set(static_cast<double>(usage.capacity_bytes));
    m.used_bytes.set(static_cast<double>(usage.bytes));
    m.blocks.set(static_cast<double>(usage.blocks));
    m.state.set(lane->tier->state());
    m.queued_bytes.set(lane->stores == nullptr ? 0 : static_cast<double>(lane->stores->waiting()));
  }
}

void TieredStore::learn_cost(double first_s, double growth_s) const {
  if (options_.cost != nullptr) options_.cost->set(first_s, growth_s);
}

// ---- stores

void TieredStore::put(BlockDraft draft) {
  if (lanes_.empty()) return;
  const std::size_t bytes = draft.bytes();
  // std::function copies its target, a draft only moves
  auto held = std::make_shared<BlockDraft>(std::move(draft));
  if (!sealing_->push([this, held] { seal_and_store(std::move(*held)); }, bytes))
    for (const auto& lane : lanes_) metrics_.of(lane->tier->kind()).stores[StoreEnd::dropped].inc();
}

void TieredStore::seal_and_store(BlockDraft draft) {
  const BlockPtr block =
      options_.packing ? packed(*options_.packing, std::move(draft)) : std::move(draft).seal();
  for (const auto& lane : lanes_) {
    if (lane->stores == nullptr)
      store_now(*lane, block);
    else
      store_behind(*lane, block);
  }
}

void TieredStore::store_behind(Lane& lane, const BlockPtr& block) {
  auto job = [this, &lane, block] {
    // Loads first: a request waits for those, nobody waits for a store.
    const Clock::time_point until = Clock::now() + options_.yield_to_loads;
    while (lane.loading.load() > 0 && Clock::now() < until && !stop_.load())
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    store_now(lane, block);
  };
  if (!lane.stores->push(std::move(job), block->bytes().size()))
    metrics_.of(lane.tier->kind()).stores[StoreEnd::dropped].inc();
}

void TieredStore::store_now(Lane& lane, const BlockPtr& block) {
  const TierMetrics& m = metrics_.of(lane.tier->kind());
  const Clock::time_point start = Clock::now();
  const PutOutcome outcome = lane.tier->put(block, start + options_.store_deadline);
  m.stores[end_of(outcome)].inc();
  if (outcome != PutOutcome::stored) return;
  m.store_bytes.inc(static_cast<double>(block->bytes().size()));
  m.store_seconds.observe(seconds_since(start));
}

// ---- loads

BlockFetchPtr TieredStore::fetch(BlockRun run, TierDeadline deadline) {
  auto fetch = std::make_shared<BlockFetch>(std::move(run), deadline);
  std::vector<std::size_t> all(fetch->run().blocks());
  std::iota(all.begin(), all.end(), std::size_t{0});
  if (all.empty() || lanes_.empty()) {
    fetch->finish();
    return fetch;
  }
  Lane& lane = *lanes_.front();
  if (!lane.loads->push([this, fetch, all] { read(fetch, 0, all); }, kOne)) fetch->finish();
  return fetch;
}

// On the lane's own thread; what is missing goes on to the next lane's.
void TieredStore::read(const BlockFetchPtr& fetch, std::size_t at, std::vector<std::size_t> missing) {
  if (!fetch->abandoned() && !stop_.load()) {
    Lane& lane = *lanes_[at];
    ++lane.loading;
    missing = read_tier(*fetch, lane, missing);
    --lane.loading;
  }
  const bool over = fetch->abandoned() || stop_.load() || Clock::now() >= fetch->deadline();
  if (!over && !missing.empty() && at + 1 < lanes_.size() &&
      lanes_[at + 1]->loads->push([this, fetch, at, missing] { read(fetch, at + 1, missing); }, kOne))
    return;
  fetch->finish();
  notify();
}

std::vector<std::size_t> TieredStore::read_tier(BlockFetch& fetch, Lane& lane,
                                                const std::vector<std::size_t>& missing) {
  const BlockRun& run = fetch.run();
  const TierMetrics& m = metrics_.of(lane.tier->kind());
  TierShare share;
  std::vector<std::size_t> left;
  std::vector<TierRead> reads;
  const auto batch = [&](std::size_t at) {
    std::vector<BlockId> ids;
    for (std::size_t i = at; i < std::min(at + options_.load_batch, missing.size()); ++i)
      ids.push_back({run.keys[missing[i] / run.heads.size()], run.heads[missing[i] % run.heads.size()]});
    return ids;
  };
  std::vector<BlockId> ids, next = batch(0);
  lane.tier->expect(next);
  bool gave_up = false;
  for (std::size_t at = 0; at < missing.size(); at += options_.load_batch) {
    ids = std::move(next);
    next = batch(at + options_.load_batch);
    const std::size_t n = ids.size();
    gave_up = gave_up || fetch.abandoned() || stop_.load() || Clock::now() >= fetch.deadline();
    if (gave_up) {
      left.insert(left.end(), missing.begin() + static_cast<std::ptrdiff_t>(at), missing.end());
      break;
    }
    const Clock::time_point start = Clock::now();
    TierShare part;
    lane.tier->expect(next);  // read while these are checked
    reads.assign(n, {});
    lane.tier->get(ids, reads, fetch.deadline());
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t bytes = reads[i].block == nullptr ? 0 : reads[i].block->bytes().size();
      if (accept(fetch, lane, missing[at + i], std::move(reads[i]))) {
        ++part.blocks;
        part.bytes += bytes;
      } else {
        left.push_back(missing[at + i]);
      }
    }
    part.seconds = seconds_since(start);
    fetch.read_from(lane.tier->kind(), part);  // now: a fetch that ends at its deadline was as far as this
    share.blocks += part.blocks;
    share.bytes += part.bytes;
    share.seconds += part.seconds;
  }
  if (share.blocks > 0) {
    m.load_bytes.inc(static_cast<double>(share.bytes));
    m.load_seconds.observe(share.seconds);
  }
  return left;
}

bool TieredStore::accept(BlockFetch& fetch, Lane& lane, std::size_t index, TierRead read) {
  const TierMetrics& m = metrics_.of(lane.tier->kind());
  ReadEnd end = end_of(read.outcome);
  if (read.outcome == GetOutcome::hit) {
    const BlockRun& run = fetch.run();
    const BlockHeader expected = run.expected(index / run.heads.size(), index % run.heads.size());
    if (!foreign_field(read.block->header(), expected).empty()) {
      end = ReadEnd::foreign;
      lane.tier->erase(expected.id, fetch.deadline());
    }
  }
  BlockPtr whole = read.block;
  if (end == ReadEnd::hit && read.block->header().codec != 0) {
    whole = options_.packing ? unpacked(*options_.packing, read.block) : nullptr;
    if (whole == nullptr) {  // of a codec that this worker does not read
      end = ReadEnd::foreign;
      lane.tier->erase(read.block->header().id, fetch.deadline());
    }
  }
  m.reads[end].inc();
  if (end != ReadEnd::hit) return false;
  if (lane.tier->waits())  // promotion
    for (const auto& upper : lanes_)
      if (!upper->tier->waits()) store_now(*upper, read.block);
  fetch.arrived(index, std::move(whole), lane.tier->kind());
  return true;
}

// ---- surveys

std::shared_ptr<const TieredStore::Survey> TieredStore::survey(std::vector<BlockKey> keys, std::uint16_t head,
                                                               TierDeadline deadline) {
  auto survey = std::make_shared<Survey>();
  std::vector<BlockId> ids;
  for (const BlockKey& key : keys) ids.push_back({key, head});
  // On the last lane's thread: it may have to ask every tier, and the ones before it answer fast.
  if (lanes_.empty() ||
      !lanes_.back()->loads->push(
          [this, survey, ids = std::move(ids), deadline] { look(survey, ids, deadline); }, kOne))
    survey->finished = true;
  return survey;
}

void TieredStore::look(const std::shared_ptr<Survey>& survey, std::vector<BlockId> ids,
                       TierDeadline deadline) {
  std::vector<TierKind> found;
  for (bool progress = true; progress && found.size() < ids.size();) {
    progress = false;
    for (const auto& lane : lanes_) {
      if (stop_.load() || Clock::now() >= deadline) break;
      const std::size_t n = lane->tier->leading(std::span(ids).subspan(found.size()), deadline);
      found.insert(found.end(), n, lane->tier->kind());
      progress = progress || n > 0;
    }
  }
  survey->tiers = std::move(found);
  survey->finished = true;
  notify();
}

}  // namespace leadline::kvstore
