#include "deploy/cli/bench_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

namespace leadline::deploy {
namespace {

double per_second(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0;
}

nlohmann::ordered_json to_object(const Percentiles& p) {
  return {{"count", p.count}, {"mean", p.mean}, {"min", p.min}, {"p50", p.p50},
          {"p90", p.p90},     {"p95", p.p95},   {"p99", p.p99}, {"max", p.max}};
}

std::string row(const char* name, const Percentiles& p) {
  char line[160];
  std::snprintf(line, sizeof line, "%-14s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, p.mean * 1e3,
                p.p50 * 1e3, p.p90 * 1e3, p.p95 * 1e3, p.p99 * 1e3, p.max * 1e3);
  return p.count > 0 ? line : "";
}

}  // namespace

Percentiles compute_percentiles(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(samples.size())));
    return samples[std::clamp<std::size_t>(rank, 1, samples.size()) - 1];
  };
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  return {samples.size(),  sum / static_cast<double>(samples.size()),
          samples.front(), at(0.50),
          at(0.90),        at(0.95),
          at(0.99),        samples.back()};
}

BenchReport make_report(const std::vector<BenchSample>& samples, int concurrency, double seconds) {
  BenchReport report;
  report.concurrency = concurrency;
  report.seconds = seconds;
  std::vector<double> ttft, inter_token, e2e;
  for (const BenchSample& sample : samples) {
    if (!sample.ok) {
      ++report.failed;
      ++report.errors[sample.error];
      continue;
    }
    ++report.completed;
    report.prompt_tokens += sample.prompt_tokens;
    report.completion_tokens += sample.completion_tokens;
    if (sample.ttft >= 0) ttft.push_back(sample.ttft);
    inter_token.insert(inter_token.end(), sample.inter_token.begin(), sample.inter_token.end());
    e2e.push_back(sample.e2e);
  }
  report.ttft = compute_percentiles(std::move(ttft));
  report.inter_token = compute_percentiles(std::move(inter_token));
  report.e2e = compute_percentiles(std::move(e2e));
  return report;
}

std::string to_text(const BenchReport& r) {
  char line[256];
  std::snprintf(line, sizeof line, "%zu requests completed, %zu failed, %d at a time, in %.2f s\n",
                r.completed, r.failed, r.concurrency, r.seconds);
  std::string text = line;
  std::snprintf(
      line, sizeof line, "%.2f requests/s, %.1f tokens/s generated (%lld), %.1f tokens/s of prompts (%lld)\n",
      per_second(static_cast<double>(r.completed), r.seconds),
      per_second(static_cast<double>(r.completion_tokens), r.seconds),
      static_cast<long long>(r.completion_tokens),
      per_second(static_cast<double>(r.prompt_tokens), r.seconds), static_cast<long long>(r.prompt_tokens));
  text += line;
  std::snprintf(line, sizeof line, "%-14s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "p50", "p90", "p95",
                "p99", "max");
  text += line + row("first token", r.ttft) + row("inter-token", r.inter_token) + row("end to end", r.e2e);
  for (const auto& [message, count] : r.errors)
    text += "failed " + std::to_string(count) + " times: " + message + "\n";
  return text;
}

std::string to_json(const BenchReport& r) {
  nlohmann::ordered_json out = {
      {"completed", r.completed},
      {"failed", r.failed},
      {"concurrency", r.concurrency},
      {"duration_seconds", r.seconds},
      {"prompt_tokens", r.prompt_tokens},
      {"completion_tokens", r.completion_tokens},
      {"requests_per_second", per_second(static_cast<double>(r.completed), r.seconds)},
      {"completion_tokens_per_second", per_second(static_cast<double>(r.completion_tokens), r.seconds)},
      {"prompt_tokens_per_second", per_second(static_cast<double>(r.prompt_tokens), r.seconds)},
      {"ttft_seconds", to_object(r.ttft)},
      {"inter_token_seconds", to_object(r.inter_token)},
      {"e2e_seconds", to_object(r.e2e)}};
  out["errors"] = nlohmann::ordered_json::object();
  for (const auto& [message, count] : r.errors) out["errors"][message] = count;
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace leadline::deploy
