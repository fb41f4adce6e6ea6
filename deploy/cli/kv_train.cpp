#include "deploy/cli/kv_train.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "kvstore/eviction/ranked.h"
#include "kvstore/replay/replay.h"
#include "policy/trainer/eviction_training.h"
#include "worker/runtime/ranker_adapter.h"

namespace leadline::deploy {
namespace {

constexpr std::size_t kMaxSamples = 200'000;

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double microseconds_per_eviction(const policy::EvictionRanker& ranker) {
  const worker::RankerAdapter adapter(ranker);
  std::array<kvstore::ReuseFeatures, 16> blocks{};
  std::array<float, 16> seconds{};
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = {static_cast<float>(i), 96, 1, 3, 5, 16};
  const double began = now_us();
  for (int i = 0; i < 1000; ++i) (void)adapter.rank(blocks, seconds);
  return (now_us() - began) / 1000;
}

}  // namespace

void add_kv_train_flags(CLI::App& command, KvTrainOptions& o) {
  command.add_option("log", o.source.log, "Access log of a store (its newest file)");
  add_workload_flag(command, o.source);
  command.add_option("--seed", o.source.seed, "Of the generated workload");
  command.add_option("--hours", o.source.hours, "Of the generated workload")->check(CLI::Range(0.01, 1000.0));
  command.add_option("-o,--output", o.output, "Where the ranker goes")->required();
  command.add_option("--train-share", o.train_share, "Of the log; the rest is held out")
      ->check(CLI::Range(0.1, 0.9));
  command.add_option("--capacity", o.capacity_share, "Of the log's distinct bytes")
      ->check(CLI::Range(0.0001, 1.0));
  command.add_option("--horizon", o.horizon_s, "Seconds: a reuse later than this counts as none")
      ->check(CLI::Range(1.0, 1e7));
  command.add_option("--least-gain", o.least_gain, "Over S3-FIFO's saved seconds, as a share")
      ->check(CLI::Range(0.0, 1.0));
}

int run_kv_train(const KvTrainOptions& o) {
  std::vector<kvstore::AccessRecord> records;
  if (!read_records(o.source, records)) return 1;
  const auto cut = static_cast<std::size_t>(o.train_share * static_cast<double>(records.size()));
  const std::uint64_t footprint = kvstore::footprint_bytes(records);
  const auto capacity = static_cast<std::uint64_t>(o.capacity_share * static_cast<double>(footprint));
  const auto raw = kvstore::reuse_samples(std::span(records).first(cut), capacity, o.horizon_s, kMaxSamples);
  std::vector<policy::EvictionSample> samples;
  for (const kvstore::ReuseSample& s : raw) samples.push_back({s.features, s.seconds});
  policy::EvictionTrainingOptions training;
  training.horizon_s = static_cast<float>(o.horizon_s);
  const auto trained = policy::train_eviction(samples, training);
  if (!trained) {
    std::fprintf(stderr, "leadline kv train: %s\n", trained.error().message.c_str());
    return 1;
  }
  const policy::EvictionRanker probe(trained->network, "");
  const worker::RankerAdapter adapter(probe);
  auto s3fifo = kvstore::make_eviction("s3fifo", capacity);
  auto lru = kvstore::make_eviction("lru", capacity);
  kvstore::RankedEviction learned({.capacity_bytes = capacity, .shadow = false}, adapter, now_us);
  const auto mark = kvstore::replay_belady(records, capacity, cut);
  const auto base = kvstore::replay(records, *s3fifo, capacity, cut);
  const auto recent = kvstore::replay(records, *lru, capacity, cut);
  const auto ours = kvstore::replay(records, learned, capacity, cut);
  const double gain = base.saved_s > 0 ? ours.saved_s / base.saved_s - 1 : 0;
  char report[512];
  std::snprintf(
      report, sizeof report,
      "%zu samples, error %.3f of log seconds (a constant %.3f); held out: saved %.1f s, S3-FIFO %.1f s "
      "(%+.2f %%), LRU %.1f s, Belady %.1f s of %.1f s; capacity %.3g %% of %.1f GB",
      samples.size(), trained->loss, trained->constant_loss, ours.saved_s, base.saved_s, 100 * gain,
      recent.saved_s, mark.saved_s, base.looked_s, 100 * o.capacity_share,
      static_cast<double>(footprint) / 1e9);
  std::printf("%s\n%.1f us per eviction of 16 candidates; the guard took %llu of %llu evictions\n", report,
              microseconds_per_eviction(probe),
              static_cast<unsigned long long>(learned.counts()[kvstore::EvictedBy::guard]),
              static_cast<unsigned long long>(learned.counts().evictions()));
  if (!(gain >= o.least_gain)) {
    std::fprintf(
        stderr,
        "leadline kv train: not better than S3-FIFO on the held-out part by %.2f %%: %s is not written\n",
        100 * o.least_gain, o.output.c_str());
    return 1;
  }
  const policy::EvictionRanker ranker(trained->network, report);
  if (auto saved = ranker.save(o.output); !saved) {
    std::fprintf(stderr, "leadline kv train: %s\n", saved.error().message.c_str());
    return 1;
  }
  std::printf("written: %s\n", o.output.c_str());
  return 0;
}

}  // namespace leadline::deploy
