#pragma once
// WorkerConfig: every tunable and limit of one worker rank, with unit, default and range. Not the model's
// dimensions (model/model_config). Thread: immutable after main has parsed it.

#include <cstdint>
#include <string>
#include <vector>

#include "transport/collective/dtype.h"
#include "worker/errc.h"

namespace leadline::worker {

struct WorkerConfig {
  // what is served
  std::string model_directory;
  std::string served_model_name;     // "" = the directory's name
  std::string weights = "auto";      // auto (the checkpoint's dtype) | f32 | bf16 | f16 | int8 | fp8 | int4
  std::string weight_cache = "off";  // packed weights on disk: off | auto (beside the model, or the user's
                                     // cache folder) | a directory
  std::string kv_dtype = "auto";     // auto (as the weights) | f32 | bf16 | f16 | int8 | fp8
  std::string device = "auto";       // auto | cpu | cuda
  double gpu_memory_utilization = 0.9;  // of the device's free memory; (0, 1]
  bool rank_invariant = true;           // on a GPU: slices and trees (exactness X2)
  bool graphs = true;                   // on a GPU: decode steps are recorded and replayed
  bool poison = false;             // on a GPU: outputs are filled with NaN before each op; for finding faults
  std::int32_t max_model_len = 0;  // tokens, prompt and answer; 0 = the model's own
  std::int32_t max_sequences = 64;  // running at once; [1, 1024]
  std::int32_t step_tokens =
      0;  // rows of one step, at least max_sequences; 0 = chosen (step_size); [16, 8192]
  std::int64_t kv_pool_bytes =
      0;  // per rank; 0 = what max_sequences * max_model_len need, at most a quarter of memory
  std::int64_t swap_bytes =
      -1;  // host memory for preempted sequences, per rank; -1 = as kv_pool, 0 = recompute instead
  bool prefix_cache = true;
  // of KV blocks in tiers: none | lossless; int8 | int4: of pages, too, by whole groups of 128 tokens (X5)
  std::string kv_codec = "none";
  std::int64_t kv_memory_bytes = 0;  // of host memory for KV blocks, per worker; 0 = no memory tier
  std::string kv_disk_directory;  // of KV blocks, shared by ranks and workers of this host; "" = no disk tier
  std::int64_t kv_disk_bytes = std::int64_t{8}
                               << 30;  // that all users of the directory may spend; 0 = no disk tier
  std::string kv_redis;                // redis[s]://[user:pass@]host:port[/db]; "" = no shared tier
  std::string kv_access_log;           // of the store: a file, or a directory for worker-N.kvlog; "" = none
  std::string kv_ranker;               // of `leadline kv train`, for memory and disk; "" = none
  bool kv_ranker_obeyed = false;       // false: in shadow, asked and counted
  std::string experience_directory;    // decisions are logged there; "" = not
  double explore = 0;                  // share of logged decisions drawn for exploration; [0, 1]
  bool speculation_guard = true;       // drafting stops where it loses time
  std::string speculation =
      "auto";               // auto | off | file:PATH | static:E,K | threshold:E,K,T; what "auto" requests get
  std::string policy_file;  // decides instead once it is there and fits the model; "" = none
  std::vector<std::int32_t> exits;  // candidate exit layers, ascending; empty = shallow half of the model
  std::int32_t draft_ranks = 0;  // 1: rank 0 holds a whole copy of the layers that draft; 0: all ranks draft
  std::int32_t max_draft_rows = 128;     // rows of drafts in one step; 0 = nobody drafts; [0, 4096]
  std::string kv_compression = "exact";  // of requests that name none: exact, or a method
  double kv_compression_budget = 0.35;   // of requests that give none: share of the slots that stay; (0, 1]
  std::int32_t threads = 0;              // per rank; 0 = this host's cores divided by its ranks

  // where it is reached
  std::string listen = "127.0.0.1:0";  // control links; port 0 = a free one
  std::string admin_host = "127.0.0.1";
  std::int32_t admin_port = -1;     // -1 = none, 0 = a free one
  std::string control_secret_file;  // "" = loopback only
  std::int32_t worker_index = 0;    // for logs

  // ranks that no launcher counted (transport/collective/launch_place.h); world 0 = not given
  std::int32_t rank = -1, world = 0;
  std::string rendezvous;  // HOST:PORT of rank 0
  std::int64_t connect_limit_ms =
      60'000;  // ranks find each other at start, or the start fails; [100, 3'600'000]

  // how long things may take
  std::int64_t stall_limit_ms = 60'000;   // a rank silent for longer within a step is lost; [100, 3'600'000]
  std::int64_t drain_ms = 30'000;         // SIGTERM: running sequences may finish for so long
  std::int32_t inbox_capacity = 256;      // requests between the I/O thread and the step thread
  std::int32_t max_live_requests = 1024;  // waiting and running; beyond: handed back as overloaded

  bool log_json = false;
};

// Reads flags; `text` is what --help prints or what is wrong (names flag and value).
struct ParsedFlags {
  WorkerConfig config;
  bool run = false;  // false: print `text` and leave with `exit_code`
  int exit_code = 0;
  std::string text;
};
ParsedFlags parse_worker_flags(int argc, char** argv);

}  // namespace leadline::worker
