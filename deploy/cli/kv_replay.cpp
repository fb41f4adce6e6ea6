#include "deploy/cli/kv_replay.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "kvstore/eviction/ranked.h"
#include "kvstore/replay/access_log.h"
#include "kvstore/replay/chat_trace.h"
#include "kvstore/replay/replay.h"
#include "worker/runtime/ranker_adapter.h"

namespace leadline::deploy {
namespace {

using kvstore::ReplayResult;

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

std::vector<ReplayResult> all_policies(const std::vector<kvstore::AccessRecord>& records,
                                       std::uint64_t capacity, std::size_t from,
                                       const kvstore::ReuseRanker* ranker) {
  std::vector<ReplayResult> results = {kvstore::replay_belady(records, capacity, from)};
  for (const char* name : {"lru", "s3fifo", "s3fifo10", "gdsf"}) {
    auto policy = kvstore::make_eviction(name, capacity);
    results.push_back(kvstore::replay(records, *policy, capacity, from));
    results.back().policy = name;
  }
  if (ranker != nullptr) {
    kvstore::RankedEviction policy({.capacity_bytes = capacity, .shadow = false}, *ranker, now_us);
    results.push_back(kvstore::replay(records, policy, capacity, from));
    const kvstore::RankedCounts& c = policy.counts();
    std::printf("  learned: %llu evictions, %llu by the guard, %llu by the fallback, %llu late\n",
                static_cast<unsigned long long>(c.evictions()),
                static_cast<unsigned long long>(c[kvstore::EvictedBy::guard]),
                static_cast<unsigned long long>(c[kvstore::EvictedBy::fallback]),
                static_cast<unsigned long long>(c[kvstore::RankerAnswer::late]));
  }
  return results;
}

nlohmann::json to_json(const ReplayResult& r, double share, std::uint64_t capacity) {
  return {{"policy", r.policy},
          {"capacity_share", share},
          {"capacity_bytes", capacity},
          {"looks", r.looks},
          {"hits", r.hits},
          {"hit_bytes_share", ratio(r.hit_bytes, r.looked_bytes)},
          {"saved_s", r.saved_s},
          {"saved_share", ratio(r.saved_s, r.looked_s)},
          {"evictions", r.evictions}};
}

}  // namespace

void add_workload_flag(CLI::App& command, KvReplayOptions& o) {
  command
      .add_option("--workload", o.workload,
                  "A generated log instead: chat, prefixes (shared by many), scans (of documents that never "
                  "return), loop (a batch job beside chats)")
      ->check(CLI::IsMember(
          std::vector<std::string>(std::begin(kvstore::kWorkloads), std::end(kvstore::kWorkloads))));
}

void add_kv_replay_flags(CLI::App& command, KvReplayOptions& o) {
  command.add_option("log", o.log, "Access log of a store (its newest file)");
  add_workload_flag(command, o);
  command.add_option("--save", o.save, "Write the records to this file as an access log");
  command.add_option("--seed", o.seed, "Of the generated workload");
  command.add_option("--hours", o.hours, "Of the generated workload")->check(CLI::Range(0.01, 1000.0));
  command.add_option("--capacity", o.capacity_shares, "Shares of the log's distinct bytes")
      ->check(CLI::Range(0.0001, 1.0));
  command.add_option("--ranker", o.ranker, "A file of `leadline kv train`: the learned policy, too");
  command.add_option("--warm", o.warm_share, "Share of the records that only warm the cache")
      ->check(CLI::Range(0.0, 0.99));
  command.add_flag("--json", o.json, "One JSON line per row");
}

bool read_records(const KvReplayOptions& o, std::vector<kvstore::AccessRecord>& records) {
  if (o.workload.empty() == o.log.empty()) {
    std::fprintf(stderr, "leadline kv: name a log, or a --workload\n");
    return false;
  }
  if (auto trace = kvstore::workload(o.workload)) {
    trace->seed = o.seed;
    trace->seconds = o.hours * 3600;
    records = kvstore::chat_trace(*trace);
  } else {
    auto log = kvstore::read_access_log(o.log);
    if (!log) {
      std::fprintf(stderr, "leadline kv: %s\n", log.error().message.c_str());
      return false;
    }
    if (log->damaged != 0)
      std::fprintf(stderr, "leadline kv: %llu damaged records skipped\n",
                   static_cast<unsigned long long>(log->damaged));
    records = std::move(log->records);
  }
  if (!o.save.empty()) {
    const auto bytes = kvstore::to_bytes(records);
    std::ofstream out(o.save, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) {
      std::fprintf(stderr, "leadline kv: %s cannot be written\n", o.save.c_str());
      return false;
    }
  }
  if (records.empty()) std::fprintf(stderr, "leadline kv: the log has no records\n");
  return !records.empty();
}

int run_kv_replay(const KvReplayOptions& o) {
  std::vector<kvstore::AccessRecord> records;
  if (!read_records(o, records)) return 1;
  std::optional<policy::EvictionRanker> ranker;
  std::optional<worker::RankerAdapter> adapter;
  if (!o.ranker.empty()) {
    auto loaded = policy::EvictionRanker::load(o.ranker);
    if (!loaded) {
      std::fprintf(stderr, "leadline kv: %s\n", loaded.error().message.c_str());
      return 1;
    }
    ranker.emplace(std::move(*loaded));
    adapter.emplace(*ranker);
  }
  const std::uint64_t footprint = kvstore::footprint_bytes(records);
  const auto from = static_cast<std::size_t>(o.warm_share * static_cast<double>(records.size()));
  if (!o.json)
    std::printf(
        "%zu records over %.0f s, %.1f GB of distinct blocks; counted from record %zu on\n\n"
        "| capacity | policy | found, of bytes | saved, of seconds | saved s | of Belady's |\n"
        "| --- | --- | --- | --- | --- | --- |\n",
        records.size(), records.back().time_s, static_cast<double>(footprint) / 1e9, from);
  for (double share : o.capacity_shares) {
    const auto capacity = static_cast<std::uint64_t>(share * static_cast<double>(footprint));
    const auto results = all_policies(records, capacity, from, adapter ? &*adapter : nullptr);
    for (const ReplayResult& r : results) {
      if (o.json) {
        std::printf("%s\n", to_json(r, share, capacity).dump().c_str());
        continue;
      }
      std::printf("| %.3g %% | %s | %.4f | %.4f | %.1f | %.3f |\n", 100 * share, r.policy.c_str(),
                  ratio(r.hit_bytes, r.looked_bytes), ratio(r.saved_s, r.looked_s), r.saved_s,
                  ratio(r.saved_s, results[0].saved_s));
    }
  }
  return 0;
}

}  // namespace leadline::deploy
