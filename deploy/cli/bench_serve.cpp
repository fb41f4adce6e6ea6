#include "deploy/cli/bench_serve.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <vector>

#include "deploy/cli/bench_report.h"
#include "deploy/cli/console.h"

namespace leadline::deploy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kFirstTokenId = 100;  // below are bytes and, in some vocabularies, markers
constexpr int kBarWidth = 30;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string make_body(const BenchOptions& o, const std::string& model, int index) {
  std::mt19937_64 random(o.seed * 1'000'003 + static_cast<std::uint64_t>(index));
  std::vector<int> prompt(static_cast<std::size_t>(o.prompt_tokens));
  for (int& id : prompt) {
    id = kFirstTokenId +
         static_cast<int>(random() % static_cast<std::uint64_t>(o.max_token_id - kFirstTokenId));
  }
  nlohmann::json body = {{"model", model},
                         {"prompt", prompt},
                         {"max_tokens", o.max_tokens},
                         {"temperature", o.temperature},
                         {"ignore_eos", true},
                         {"seed", o.seed + static_cast<std::uint64_t>(index)}};
  if (o.stream) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  return body.dump();
}

BenchSample run_one(ApiClient& client, const BenchOptions& options, const std::string& model, int index) {
  BenchSample sample;
  const std::string body = make_body(options, model, index);
  const Clock::time_point begin = Clock::now();
  Clock::time_point last = begin;
  std::function<void(std::string_view)> on_text;
  if (options.stream) {
    on_text = [&](std::string_view) {
      const Clock::time_point now = Clock::now();
      if (sample.ttft < 0) {
        sample.ttft = seconds_between(begin, now);
      } else {
        sample.inter_token.push_back(seconds_between(last, now));
      }
      last = now;
    };
  }
  const auto answer = client.generate("/v1/completions", body, on_text);
  sample.e2e = seconds_between(begin, Clock::now());
  sample.ok = answer.has_value();
  if (!answer) return sample.error = answer.error().message, sample;
  sample.prompt_tokens = answer->prompt_tokens;
  sample.completion_tokens = answer->completion_tokens;
  return sample;
}

struct Run {  // shared by the clients; each sample is written by the one client that took its number
  const Clock::time_point begin = Clock::now();
  std::atomic<int> next{0}, done{0};
  std::vector<BenchSample> samples;
};

// One client: takes the next request's number until there is none.
void run_client(const BenchOptions& options, const std::string& model, Run& run) {
  auto client = ApiClient::create(options.server);
  for (int index = run.next.fetch_add(1); index < options.requests; index = run.next.fetch_add(1)) {
    BenchSample sample = run_one(*client, options, model, index + options.warmup);
    sample.finished = seconds_between(run.begin, Clock::now());
    run.samples[static_cast<std::size_t>(index)] = std::move(sample);
    run.done.fetch_add(1);
  }
}

void show_progress(const BenchOptions& options, const std::atomic<int>& done) {
  ProgressLine line;
  for (int seen = -1; seen < options.requests;) {
    seen = done.load();
    const int filled = kBarWidth * seen / options.requests;
    line.show("[" + std::string(static_cast<std::size_t>(filled), '#') +
                  std::string(static_cast<std::size_t>(kBarWidth - filled), '.') + "] " +
                  std::to_string(seen) + " of " + std::to_string(options.requests),
              100 * seen / options.requests);
    if (seen < options.requests) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  line.finish();
}

}  // namespace

void add_bench_flags(CLI::App& command, BenchOptions& o) {
  add_server_flags(command, o.server);
  command.add_option("--concurrency", o.concurrency, "Requests at a time")->check(CLI::Range(1, 4096));
  command.add_option("--requests", o.requests, "Requests in all")->check(CLI::Range(1, 10'000'000));
  command.add_option("--warmup", o.warmup, "Requests before the clock starts")->check(CLI::Range(0, 1000));
  command.add_option("--prompt-tokens", o.prompt_tokens, "Tokens of each prompt")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--max-tokens", o.max_tokens, "Tokens of each answer")->check(CLI::Range(1, 1 << 20));
  command.add_option("--max-token-id", o.max_token_id, "Prompts are drawn from ids 100 to this")
      ->check(CLI::Range(kFirstTokenId + 1, 1 << 20));
  command.add_option("--temperature", o.temperature, "0: greedy")->check(CLI::Range(0.0, 2.0));
  command.add_option("--seed", o.seed, "Of the prompts");
  command.add_flag("--stream,!--no-stream", o.stream, "Stream the answers");
  command.add_flag("--json", o.json, "The report as JSON on standard output");
}

int run_bench_serve(const BenchOptions& options) {
  auto client = ApiClient::create(options.server);
  if (!client) return say(client.error().message), 1;
  const auto model = client->model();
  if (!model) return say(model.error().message), 1;
  for (int i = 0; i < options.warmup; ++i) {
    if (const BenchSample sample = run_one(*client, options, *model, i); !sample.ok)
      return say(sample.error), 1;
  }
  Run run;
  run.samples.resize(static_cast<std::size_t>(options.requests));
  std::vector<std::thread> clients;
  for (int i = 0; i < options.concurrency; ++i) {
    clients.emplace_back([&] { run_client(options, *model, run); });
  }
  show_progress(options, run.done);
  for (std::thread& thread : clients) thread.join();
  double seconds = 0;
  for (const BenchSample& sample : run.samples) seconds = std::max(seconds, sample.finished);
  const BenchReport report = make_report(run.samples, options.concurrency, seconds);
  std::fputs((options.json ? to_json(report) : to_text(report)).c_str(), stdout);
  return report.failed == 0 ? 0 : 1;
}

}  // namespace leadline::deploy
