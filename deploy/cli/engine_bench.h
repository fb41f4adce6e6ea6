#pragma once
// `leadline bench engine`: the engine alone, in this process, without a server: prefill and decode of the
// real Transformer on the real backend, stage by stage, beside the machine's ceilings measured in the same
// run. Not a test of speed: nothing fails for being slow. Thread: main; the backend has its own pool.

#include <cstdint>
#include <string>
#include <vector>

#include "deploy/cli/machine_probe.h"
#include "deploy/cli/timed_backend.h"

namespace CLI {
class App;
}

namespace leadline::deploy {

struct EngineBenchOptions {
  std::string model;  // checkpoint directory, or empty
  std::string shape;  // named_shape() with random weights, if no model
  std::string weights = "auto", kv_dtype = "bf16", isa;
  int prompt = 512;   // tokens of each sequence
  int generate = 32;  // steps of decode
  int batch = 1;      // sequences
  int context = 0;    // slots of KV before decode; 0: the prompt. Slots beyond the prompt hold small numbers.
  int step_tokens = 512;  // rows of one prefill step
  int verify = 0;         // rows of one sequence in one step, as speculation verifies; 0: not measured
  int threads = 0;        // 0: all cores
  int repeats = 5;        // medians over so many
  bool json = false;
};

// Medians over the repeats.
struct EngineBenchResult {
  MachineProbe ceilings;  // best of before and after
  std::string backend, arithmetic, fingerprint, logits_hash;
  std::string load_before, load_after;  // /proc/loadavg
  int threads = 0;
  double weight_bytes = 0;  // all packed weights: read once per decode step
  double load_seconds = 0;
  double prefill_seconds = 0, decode_step_seconds = 0, verify_step_seconds = 0;
  std::vector<double> prefill_runs, decode_runs;  // seconds of each repeat, a decode's per step
  std::vector<StageTotals> prefill, decode;       // by Stage, of the median repeat; decode: of one step
};

void add_engine_bench_flags(CLI::App& command, EngineBenchOptions& options);
int run_engine_bench(const EngineBenchOptions& options);  // exit status

}  // namespace leadline::deploy
