#pragma once
// BenchReport: samples of a load run -> percentiles, rates, text and JSON. Pure. Not the load itself
// (bench_serve). Thread: values. All times in seconds.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace leadline::deploy {

struct BenchSample {  // of one request
  bool ok = false;
  std::string error;  // "" when ok
  double ttft = -1;   // -1 when not streamed or without a token
  double e2e = 0;
  double finished = 0;              // since the start of the run
  std::vector<double> inter_token;  // gaps between consecutive pieces of text
  int prompt_tokens = 0, completion_tokens = 0;
};

struct Percentiles {
  std::size_t count = 0;
  double mean = 0, min = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};
// Nearest-rank percentiles (the smallest sample with at least that share at or below it); all 0 for no
// samples.
Percentiles compute_percentiles(std::vector<double> samples);

struct BenchReport {
  int concurrency = 0;
  double seconds = 0;  // first request's start to last one's end
  std::size_t completed = 0, failed = 0;
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
  Percentiles ttft, inter_token, e2e;
  std::map<std::string, std::size_t> errors;  // message -> how often
};
BenchReport make_report(const std::vector<BenchSample>& samples, int concurrency, double seconds);
std::string to_text(const BenchReport& report);
std::string to_json(const BenchReport& report);

}  // namespace leadline::deploy
