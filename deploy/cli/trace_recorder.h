#pragma once
// `leadline policy trace`: answers prompts with a model and records, for every token and every candidate
// exit, what a draft from there would have been (policy/trainer/decode_trace.h), so that policies are
// compared by replay. Runs the real engine in this process, without a server: plain decoding, then each exit
// over the finished answer, then every wrong draft's continuation. Thread: main; the backend has its own
// pool.

#include <cstdint>
#include <string>
#include <vector>

#include "policy/trainer/decode_trace.h"

namespace CLI {
class App;
}

namespace leadline::deploy {

struct TraceOptions {
  std::string model, prompts, out;
  std::vector<float> temperatures{0.0F, 0.6F};
  int tokens = 96;         // of each answer
  int max_draft = 12;      // drafts of one round
  int limit = 0;           // prompts of each task and split; 0: all
  int skip = 0;            // and the first so many of each left out
  int seeds = 1;           // sampled answers of each training prompt
  std::string split;       // only of this one; empty: all
  std::vector<int> exits;  // to record; none: every layer
  int threads = 0;
};

void add_trace_flags(CLI::App& command, TraceOptions& options);
int run_trace(const TraceOptions& options);  // exit status

struct TracePrompt {
  std::string task, text;
  policy::Split split = policy::Split::train;
  std::uint64_t seed = 1;  // of the sampled answer: its line, whatever else is traced
};
// JSON lines of {"task", "split", "text"}; the reason in `error` if it cannot be read.
bool read_trace_prompts(const TraceOptions& options, std::vector<TracePrompt>& prompts, std::string& error);

}  // namespace leadline::deploy
