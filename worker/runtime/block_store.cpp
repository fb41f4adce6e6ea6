#include "worker/runtime/block_store.h"

#include <filesystem>

#include "kvstore/disk_tier.h"
#include "kvstore/memory_tier.h"
#include "kvstore/redis_tier.h"
#include "monitoring/log.h"
#include "worker/runtime/ranker_adapter.h"

namespace leadline::worker {
namespace {

kvstore::TierEvents events_of(const kvstore::TierMetrics& m) {
  kvstore::TierEvents events;
  events.evicted = [evictions = m.evictions](std::uint32_t reads, std::uint64_t) {
    evictions[kvstore::reads_class(reads)].inc();
  };
  events.reused_after_eviction = [histogram = m.evict_to_reuse_seconds](double s) { histogram.observe(s); };
  return events;
}

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The tier keeps the factory, and so the ranker, as long as the policies that it makes.
kvstore::EvictionFactory ranked_eviction(std::shared_ptr<const RankerAdapter> ranker, bool obeyed,
                                         const kvstore::TierMetrics& m) {
  kvstore::RankedOptions options;
  options.shadow = !obeyed;
  options.events.evicted = [by = m.ranked_evictions](kvstore::EvictedBy who) { by[who].inc(); };
  options.events.answered = [answers = m.ranker_answers](kvstore::RankerAnswer a) { answers[a].inc(); };
  options.events.returned = [blocks = m.shadow_returns](kvstore::ShadowReturn block) { blocks[block].inc(); };
  return [ranker = std::move(ranker), options = std::move(options)](std::uint64_t capacity_bytes) {
    kvstore::RankedOptions mine = options;
    mine.capacity_bytes = capacity_bytes;
    return std::make_unique<kvstore::RankedEviction>(std::move(mine), *ranker, now_us);
  };
}

// Null without the flag. A file that cannot be used ends the start: whoever names one means it.
Result<std::shared_ptr<const RankerAdapter>> load_ranker(const WorkerConfig& config) {
  if (config.kv_ranker.empty()) return std::shared_ptr<const RankerAdapter>();
  auto loaded = policy::EvictionRanker::load(config.kv_ranker);
  if (!loaded)
    return monitoring::fail(Errc::configuration,
                            "--kv-ranker " + config.kv_ranker + ": " + loaded.error().message);
  monitoring::log_info("KV eviction is learned", {{"file", config.kv_ranker},
                                                  {"mode", config.kv_ranker_obeyed ? "obey" : "shadow"},
                                                  {"trained", loaded->provenance()}});
  return std::make_shared<const RankerAdapter>(std::move(*loaded));
}

Result<std::unique_ptr<kvstore::Tier>> open_redis(const WorkerConfig& config) {
  auto url = kvstore::parse_redis_url(config.kv_redis);
  if (!url) return monitoring::fail(Errc::configuration, "--kv-redis: " + url.error().message);
  kvstore::RedisTierOptions options;
  options.link.url = std::move(*url);
  options.log = [](std::string_view what, std::string_view why) {
    monitoring::log_warn("KV Redis", {{"what", what}, {"why", why}});
  };
  return std::make_unique<kvstore::RedisTier>(std::move(options));
}

}  // namespace

Result<std::unique_ptr<kvstore::TieredStore>> open_block_store(const WorkerConfig& config, int ranks,
                                                               kvstore::StoreMetrics metrics,
                                                               const UnitCodec& codec) {
  std::vector<std::unique_ptr<kvstore::Tier>> tiers;
  auto ranker = load_ranker(config);
  if (!ranker) return tl::unexpected(ranker.error());
  const auto cost = std::make_shared<kvstore::RecomputeCost>();
  const auto index_of = [&](kvstore::TierKind kind) {
    kvstore::TierIndexOptions index;
    index.cost = cost;
    if (*ranker != nullptr)
      index.eviction = ranked_eviction(*ranker, config.kv_ranker_obeyed, metrics.of(kind));
    return index;
  };
  if (config.kv_memory_bytes > 0) {
    kvstore::MemoryTierOptions options;
    options.capacity_bytes = static_cast<std::uint64_t>(config.kv_memory_bytes / ranks);
    options.events = events_of(metrics.of(kvstore::TierKind::memory));
    options.index = index_of(kvstore::TierKind::memory);
    tiers.push_back(std::make_unique<kvstore::MemoryTier>(std::move(options)));
  }
  if (!config.kv_disk_directory.empty() && config.kv_disk_bytes > 0) {
    kvstore::DiskTierOptions options;
    options.directory = config.kv_disk_directory;
    options.capacity_bytes = static_cast<std::uint64_t>(config.kv_disk_bytes);
    options.events = events_of(metrics.of(kvstore::TierKind::disk));
    options.index = index_of(kvstore::TierKind::disk);
    options.log = [](std::string_view what, std::string_view why) {
      monitoring::log_warn("KV disk", {{"what", what}, {"why", why}});
    };
    auto disk = kvstore::DiskTier::open(std::move(options));
    if (disk)
      tiers.push_back(std::move(*disk));
    else  // served without: a cache must not keep a server from starting
      monitoring::log_error("KV disk is off", {{"why", disk.error().message}});
  }
  if (!config.kv_redis.empty()) {
    auto redis = open_redis(config);
    if (!redis) return tl::unexpected(redis.error());
    tiers.push_back(std::move(*redis));
  }
  if (tiers.empty()) return std::unique_ptr<kvstore::TieredStore>();
  kvstore::TieredStoreOptions options;
  options.cost = cost;
  // Without a codec, too: blocks that another server wrote under one can be read.
  if (codec.format()) options.packing = kvstore::BlockPacking{codec.codec(), *codec.format()};
  return std::make_unique<kvstore::TieredStore>(std::move(tiers), options, std::move(metrics));
}

Result<std::unique_ptr<kvstore::AccessRecorder>> open_access_log(const WorkerConfig& config,
                                                                 kvstore::AccessCounters ends) {
  if (config.kv_access_log.empty()) return std::unique_ptr<kvstore::AccessRecorder>();
  kvstore::AccessRecorderOptions options;
  options.log.path = config.kv_access_log;
  std::error_code failed;
  if (config.kv_access_log.ends_with('/')) std::filesystem::create_directories(config.kv_access_log, failed);
  if (std::filesystem::is_directory(config.kv_access_log, failed))
    options.log.path = (std::filesystem::path(config.kv_access_log) /
                        ("worker-" + std::to_string(config.worker_index) + ".kvlog"))
                           .string();
  auto log = kvstore::AccessRecorder::open(options, std::move(ends));
  if (!log) return monitoring::fail(Errc::configuration, "--kv-access-log: " + log.error().message);
  return std::move(*log);
}

}  // namespace leadline::worker
