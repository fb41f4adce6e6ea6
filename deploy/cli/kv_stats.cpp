#include "deploy/cli/kv_stats.h"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "deploy/cli/http_client.h"
#include "kvstore/disk_files.h"
#include "kvstore/tier.h"

namespace leadline::deploy {
namespace {

using Json = nlohmann::ordered_json;

struct ModelSum {
  std::uint64_t blocks = 0, bytes = 0, tokens = 0, expired = 0;
};

Json directory_sums(const kvstore::DiskFiles& files) {
  std::map<std::string, ModelSum> models;
  std::uint64_t blocks = 0, cost = 0, damaged = 0;
  const std::uint64_t now = kvstore::unix_now_s();
  files.scan([&](kvstore::DiskFiles::Found found) {
    ++blocks;
    cost += kvstore::file_cost(found.size);
    if (!found.header) return ++damaged, true;
    ModelSum& sum = models[found.header->fingerprint];
    ++sum.blocks;
    sum.bytes += found.size;
    sum.tokens += found.header->tokens;
    sum.expired += kvstore::expired(*found.header, now);
    return true;
  });
  Json out{{"directory", files.directory()},
           {"blocks", blocks},
           {"bytes_on_disk", cost},
           {"damaged", damaged},
           {"quarantined_bytes", files.quarantined_bytes()},
           {"models", Json::array()}};
  for (const auto& [fingerprint, sum] : models)
    out["models"].push_back(
        {{"fingerprint", fingerprint},
         {"blocks", sum.blocks},
         {"bytes", sum.bytes},
         {"head_tokens", sum.tokens},
         {"bytes_per_head_token",
          sum.tokens == 0 ? 0.0 : static_cast<double>(sum.bytes) / static_cast<double>(sum.tokens)},
         {"expired", sum.expired}});
  return out;
}

// The worker's own series of tiers and fetches, as they are called there.
Result<Json> worker_series(const std::string& admin) {
  const auto url = parse_url(admin);
  if (!url) return tl::unexpected(url.error());
  HttpClient http(*url, {});
  HttpRequest request;
  request.path = "/metrics";
  request.timeout = std::chrono::seconds(10);
  const auto answer = http.send(request);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status != 200)
    return fail(Errc::protocol, "/metrics answers " + std::to_string(answer->status));
  Json out = Json::object();
  std::string_view text = answer->body;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t space = line.rfind(' ');
    if (!line.starts_with("leadline_kv_") || space == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, space);
    if (name.find("_bucket{") != std::string_view::npos) continue;
    out[std::string(name)] = std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
  }
  if (out.empty())
    return fail(Errc::protocol, "/metrics has no series of KV tiers: is this a worker's admin port?");
  return out;
}

double value_of(const Json& series, const std::string& name) {
  return series.contains(name) ? series[name].get<double>() : 0.0;
}

void print_worker(const Json& series) {
  std::printf(
      "\n| tier | state | used MB | of MB | blocks | hits | misses | damaged | stored | dropped | evicted | "
      "loaded MB/s |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::string_view tier_name : kvstore::kTierNames) {
    const std::string tier = "tier=\"" + std::string(tier_name) + "\"";
    // One series, or the sum of those that have both labels, in whatever order.
    const auto sum = [&](const char* name, const std::string& label = {}) {
      double total = 0;
      for (const auto& [key, value] : series.items())
        if (key.starts_with(std::string(name) + "{") && key.find(tier) != std::string::npos &&
            key.find(label) != std::string::npos)
          total += value.get<double>();
      return total;
    };
    std::string state = "off";
    for (const std::string_view s : kvstore::kTierStateNames)
      if (sum("leadline_kv_tier_state", "state=\"" + std::string(s) + "\"") == 1) state = s;
    const double seconds = sum("leadline_kv_tier_load_seconds_sum");
    std::printf("| %s | %s | %.1f | %.1f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n",
                std::string(tier_name).c_str(), state.c_str(), sum("leadline_kv_tier_used_bytes") / 1e6,
                sum("leadline_kv_tier_capacity_bytes") / 1e6, sum("leadline_kv_tier_blocks"),
                sum("leadline_kv_tier_reads_total", "outcome=\"hit\""),
                sum("leadline_kv_tier_reads_total", "outcome=\"miss\""),
                sum("leadline_kv_tier_reads_total", "outcome=\"corrupt\"") +
                    sum("leadline_kv_tier_reads_total", "outcome=\"foreign\""),
                sum("leadline_kv_tier_stores_total", "outcome=\"stored\""),
                sum("leadline_kv_tier_stores_total", "outcome=\"dropped\""),
                sum("leadline_kv_tier_evictions_total"),
                seconds > 0 ? sum("leadline_kv_tier_load_bytes_total") / seconds / 1e6 : 0.0);
  }
  double ranked = 0;
  for (const auto& [key, value] : series.items())
    if (key.starts_with("leadline_kv_ranker_evictions_total{")) ranked += value.get<double>();
  if (ranked > 0) {
    std::printf("\n| learned ranker | of | evictions or answers |\n| --- | --- | --- |\n");
    for (const auto& [key, value] : series.items())
      if (key.starts_with("leadline_kv_ranker_") && value.get<double>() > 0)
        std::printf("| %s | %s | %.0f |\n", key.substr(19, key.find('{') - 19).c_str(),
                    key.substr(key.find('{')).c_str(), value.get<double>());
  }
  std::printf(
      "\nlost by choices: %.3f s by fetching, %.3f s by computing; %.0f fetches ended at their deadline\n",
      value_of(series, "leadline_kv_fetch_regret_seconds_total{done=\"fetched\"}"),
      value_of(series, "leadline_kv_fetch_regret_seconds_total{done=\"computed\"}"),
      value_of(series, "leadline_kv_fetch_timeouts_total"));
}

}  // namespace

int run_kv_stats(const KvDiskOptions& o, const kvstore::DiskFiles& files) {
  Json all = directory_sums(files);
  if (!o.admin.empty()) {
    auto series = worker_series(o.admin);
    if (!series) {
      std::fprintf(stderr, "leadline kv stats: --admin %s: %s\n", o.admin.c_str(),
                   series.error().message.c_str());
      return 1;
    }
    all["worker"] = std::move(*series);
  }
  if (o.json) {
    std::printf("%s\n", all.dump(2).c_str());
    return 0;
  }
  std::printf("%s: %llu blocks, %.1f MB on disk, %llu damaged, %.1f MB in quarantine\n",
              files.directory().c_str(), all["blocks"].get<unsigned long long>(),
              all["bytes_on_disk"].get<double>() / 1e6, all["damaged"].get<unsigned long long>(),
              all["quarantined_bytes"].get<double>() / 1e6);
  for (const Json& model : all["models"])
    std::printf("  model %s: %llu blocks, %.1f MB, %.1f bytes per token of a head, %llu expired\n",
                model["fingerprint"].get<std::string>().c_str(), model["blocks"].get<unsigned long long>(),
                model["bytes"].get<double>() / 1e6, model["bytes_per_head_token"].get<double>(),
                model["expired"].get<unsigned long long>());
  if (all.contains("worker")) print_worker(all["worker"]);
  return 0;
}

}  // namespace leadline::deploy
