#include "kvstore/disk_tier.h"

#include <algorithm>
#include <limits>

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kQuarantineShare = 8;  // an eighth of the capacity
constexpr std::chrono::seconds kRescanPause{2};

double now_s() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

}  // namespace

DiskTier::DiskTier(DiskTierOptions options, std::unique_ptr<DiskFiles> files)
    : options_(std::move(options)),
      files_(std::move(files)),
      index_(options_.index, options_.capacity_bytes) {}

Result<std::unique_ptr<DiskTier>> DiskTier::open(DiskTierOptions options) {
  auto files = DiskFiles::open(options.directory);
  if (!files) return tl::unexpected(files.error());
  return std::unique_ptr<DiskTier>(new DiskTier(std::move(options), std::move(*files)));
}

bool DiskTier::join_users() {
  {
    std::lock_guard lock(mutex_);
    if (usage_ != nullptr) return true;
  }
  auto usage = DiskUsage::open(files_->directory());
  if (!usage) {
    fail_stores(usage.error().message);
    return false;
  }
  std::lock_guard lock(mutex_);
  usage_ = std::move(*usage);
  return true;
}

void DiskTier::scan(const std::atomic<bool>& stop) {
  if (!join_users()) return;
  const bool alone = usage_->alone();
  if (alone) files_->remove_stale_temps();
  std::vector<DiskFiles::Found> found;
  files_->scan([&](DiskFiles::Found file) {
    if (!file.header) {
      damaged(file.id, file.why);
    } else {
      found.push_back(std::move(file));
    }
    return !stop.load();
  });
  // Oldest first, as they came or were last read: the eviction order of an earlier start, as far as it is
  // known.
  std::ranges::sort(found, {}, &DiskFiles::Found::modified_ns);
  std::uint64_t bytes = 0;
  for (const DiskFiles::Found& file : found) {
    const std::uint64_t cost = file_cost(file.size);
    bytes += cost;
    insert(*file.header, cost);
  }
  quarantined_bytes_ = files_->quarantined_bytes();
  if (alone && !stop.load()) usage_->recount(bytes + quarantined_bytes_);
  std::lock_guard lock(mutex_);
  scanned_ = true;
  scanned_at_ = Clock::now();
}

void DiskTier::insert(const BlockHeader& h, std::uint64_t cost) {
  std::optional<double> reused;
  {
    std::lock_guard lock(mutex_);
    reused = index_.insert(h.id, {cost, h.expires_unix_s, h.parent, h.depth}, now_s());
  }
  if (reused && options_.events.reused_after_eviction) options_.events.reused_after_eviction(*reused);
}

void DiskTier::damaged(const BlockId& id, std::string_view why) {
  const bool room = quarantined_bytes_ < options_.capacity_bytes / kQuarantineShare;
  std::uint64_t size = 0;
  if (room && files_->exists(id, &size)) {
    const std::string name = files_->quarantine(id);
    if (!name.empty()) quarantined_bytes_ += file_cost(size);  // still on the disk, still counted as used
    if (options_.log) options_.log(name.empty() ? block_file_name(id) : "quarantine/" + name, why);
  } else if (options_.log) {
    options_.log(block_file_name(id), why);
  }
  std::lock_guard lock(mutex_);
  index_.erase(id);
}

TierRead DiskTier::get_one(const BlockId& id) {
  TierRead read;
  const FileResult result = files_->read(id, read.block);
  switch (result.outcome) {
    case FileOutcome::ok:
      break;
    case FileOutcome::absent: {
      std::lock_guard lock(mutex_);
      index_.erase(id);  // another process evicted it, and gave its bytes back
      return {GetOutcome::miss, nullptr};
    }
    case FileOutcome::damaged:
      damaged(id, result.why);
      return {GetOutcome::corrupt, nullptr};
    case FileOutcome::present:
    case FileOutcome::no_space:
    case FileOutcome::not_writable:
    case FileOutcome::failed:
      return {GetOutcome::unavailable, nullptr};
  }
  const BlockHeader& header = read.block->header();
  if (expired(header, options_.unix_now())) {
    (void)erase(id, {});
    return {GetOutcome::miss, nullptr};
  }
  read.outcome = GetOutcome::hit;
  insert(header, file_cost(read.block->bytes().size()));  // perhaps another process's
  bool first_read = false;
  {
    std::lock_guard lock(mutex_);
    index_.read(id, now_s());
    const IndexEntry* entry = index_.find(id);
    first_read = entry != nullptr && entry->reads == 1;
  }
  if (first_read) files_->set_read_now(id);
  return read;
}

void DiskTier::get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    reads[i] = Clock::now() < deadline ? get_one(ids[i]) : TierRead{GetOutcome::unavailable, nullptr};
}

void DiskTier::expect(std::span<const BlockId> ids) {
  for (const BlockId& id : ids) files_->read_ahead(id);
}

std::size_t DiskTier::leading(std::span<const BlockId> ids, TierDeadline deadline) {
  const std::uint64_t unix = options_.unix_now();
  for (std::size_t n = 0; n < ids.size(); ++n) {
    if (Clock::now() >= deadline) return n;
    bool known = false;
    {
      std::lock_guard lock(mutex_);
      if (const IndexEntry* entry = index_.find(ids[n])) {
        if (entry->expires_unix_s != 0 && entry->expires_unix_s <= unix) return n;
        known = true;
      }
    }
    if (!known && !files_->exists(ids[n])) return n;
  }
  return ids.size();
}

bool DiskTier::evict_one() {
  std::optional<Evicted> victim;
  {
    std::lock_guard lock(mutex_);
    victim = index_.evict(now_s());
  }
  if (!victim) return false;
  if (files_->remove(victim->id).outcome == FileOutcome::ok) usage_->give_back(victim->entry.bytes);
  if (options_.events.evicted) options_.events.evicted(victim->entry.reads, victim->entry.bytes);
  return true;
}

// Room is taken by counting first; only then is anything written. What others stored since the last look is
// not in the index: one look more before giving up.
bool DiskTier::make_room(std::uint64_t bytes, TierDeadline deadline) {
  static const std::atomic<bool> kNever{false};
  for (bool looked = false;;) {
    if (usage_->take(bytes, options_.capacity_bytes)) return true;
    if (Clock::now() >= deadline) return false;
    if (evict_one()) continue;
    Clock::time_point last;
    {
      std::lock_guard lock(mutex_);
      last = scanned_at_;
    }
    if (looked || Clock::now() - last < kRescanPause) return false;
    scan(kNever);
    looked = true;
  }
}

bool DiskTier::may_store() {
  std::lock_guard lock(mutex_);
  if (!scanned_ || usage_ == nullptr) return false;
  if (quarantined_bytes_ >= options_.capacity_bytes / kQuarantineShare) return false;
  if (why_.empty()) return true;
  if (Clock::now() < retry_at_) return false;
  why_.clear();  // tried again
  return true;
}

void DiskTier::fail_stores(std::string why) {
  if (options_.log) options_.log("stores are paused", why);
  std::lock_guard lock(mutex_);
  why_ = std::move(why);
  retry_at_ = Clock::now() + options_.retry;
}

PutOutcome DiskTier::put(const BlockPtr& block, TierDeadline deadline) {
  const BlockHeader& h = block->header();
  const std::uint64_t cost = file_cost(block->bytes().size());
  if (cost > options_.capacity_bytes) return PutOutcome::full;
  if (!may_store()) return PutOutcome::unavailable;
  if (files_->exists(h.id)) {
    insert(h, cost);
    return PutOutcome::present;
  }
  if (!make_room(cost, deadline)) return PutOutcome::full;
  const FileResult written = files_->write(block);
  switch (written.outcome) {
    case FileOutcome::ok:
      insert(h, cost);
      return PutOutcome::stored;
    case FileOutcome::present:
      usage_->give_back(cost);
      insert(h, cost);
      return PutOutcome::present;
    case FileOutcome::no_space:
      usage_->give_back(cost);
      fail_stores(written.why);
      return PutOutcome::full;
    case FileOutcome::absent:
    case FileOutcome::damaged:
    case FileOutcome::not_writable:
    case FileOutcome::failed:
      usage_->give_back(cost);
      fail_stores(written.why);
      return PutOutcome::unavailable;
  }
  return PutOutcome::unavailable;
}

bool DiskTier::erase(const BlockId& id, TierDeadline) {
  std::uint64_t size = 0;
  const bool there = files_->exists(id, &size) && files_->remove(id).outcome == FileOutcome::ok;
  std::lock_guard lock(mutex_);
  if (there && usage_ != nullptr) usage_->give_back(file_cost(size));
  index_.erase(id);
  return there;
}

TierUsage DiskTier::usage() const {
  std::lock_guard lock(mutex_);
  return {usage_ == nullptr ? index_.bytes() : usage_->bytes(), options_.capacity_bytes, index_.blocks()};
}

TierState DiskTier::state() const {
  std::lock_guard lock(mutex_);
  const bool full_quarantine = quarantined_bytes_ >= options_.capacity_bytes / kQuarantineShare;
  return why_.empty() && !full_quarantine ? TierState::ok : TierState::read_only;
}

std::string DiskTier::why() const {
  std::lock_guard lock(mutex_);
  if (!why_.empty()) return why_;
  return quarantined_bytes_ >= options_.capacity_bytes / kQuarantineShare
             ? "quarantine holds " + std::to_string(quarantined_bytes_) + " bytes of damaged blocks"
             : std::string();
}

}  // namespace leadline::kvstore
