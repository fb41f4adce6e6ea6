#pragma once
// `leadline bench serve`: a closed loop of N clients that send M requests in all to a running server, and a
// report. Not a correctness test. Prompts are random token ids, each request's own, so a prefix cache does
// not flatter the numbers. Thread: main and one per client; samples are joined at the end.

#include <cstdint>
#include <string>

#include "deploy/cli/api_client.h"

namespace leadline::deploy {

struct BenchOptions {
  ServerOptions server;
  int concurrency = 8;  // clients, each one request at a time
  int requests = 64;    // in all
  int warmup = 1;       // requests before the clock starts, not counted
  int prompt_tokens = 128;
  int max_tokens = 64;      // generated, all of them: end-of-text does not stop
  int max_token_id = 1000;  // prompts are drawn from ids [100, this)
  double temperature = 0;
  std::uint64_t seed = 1;  // of the prompts
  bool stream = true;
  bool json = false;
};

void add_bench_flags(CLI::App& command, BenchOptions& options);
int run_bench_serve(const BenchOptions& options);  // exit status: 0, or 1 if any request failed

}  // namespace leadline::deploy
