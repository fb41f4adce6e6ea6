#pragma once
// UpOptions: what `leadline up` was asked for, and the command lines that follow from it. Not the processes
// themselves (supervisor). Pure but for reading the flags: tested with tables. Thread: values.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace leadline::deploy {

struct UpOptions {
  std::string model;              // checkpoint directory; default: models/reference of this tree
  std::string served_model_name;  // "" = the directory's name
  int ranks = 2, workers = 1;
  std::string host = "127.0.0.1";
  int port = 8000;                    // 0 = a free one
  int admin_port = 9464;              // worker w answers on admin_port + 1 + w; 0 = a free block
  std::string weight_cache = "auto";  // of packed weights: auto, off, a directory
  std::string weights = "auto", kv_dtype = "auto", device = "auto";
  double gpu_memory_utilization = 0.9;   // of a GPU's free memory
  bool graphs = true;                    // on a GPU: decode steps are recorded
  bool poison = false;                   // on a GPU: outputs are NaN before they are written
  std::int64_t kv_pool_bytes = 0;        // per rank; 0 = automatic
  std::string kv_codec = "none";         // none | lossless | int8 | int4
  std::string kv_compression = "exact";  // of requests that name none
  double kv_compression_budget = 0.35;   // of requests that give none
  int max_model_len = 0;                 // tokens; 0 = the model's own
  int max_seqs = 64;
  int step_tokens = 0;               // rows of a step; 0 = the worker chooses
  std::string speculation = "auto";  // off | static:E,K | threshold:E,K,T | del | file:PATH
  int draft_ranks = 0;
  std::string exits;       // candidate layers, "2,4,6"; "" = the worker chooses
  bool guard = true;       // drafting stops where it loses time
  std::string experience;  // directory for logs of exit decisions; "" = none
  double explore = 0;      // share of logged decisions drawn for exploration
  // KV blocks that outlive requests (docs/kv_store.md)
  std::int64_t kv_memory_bytes = std::int64_t{1} << 30;  // per worker; 0 = off
  std::string kv_disk;                                   // directory; default: the user's cache folder
  std::int64_t kv_disk_bytes = std::int64_t{8} << 30;    // of the directory; 0 = off
  std::string kv_redis;                                  // URL, or @FILE; "" = no shared tier
  std::string kv_access_log;                             // FILE, or DIR/ for one log per worker; "" = none
  std::string kv_ranker;                                 // FILE of `kv train`; "" = none
  std::string kv_ranker_mode = "shadow";                 // shadow | obey
  int threads = 0;                                       // per rank; 0 = cores divided by ranks
  std::string api_key_file, tls_cert, tls_key, chat_template;
  std::int64_t stall_limit_ms = 60'000;
  bool no_console = false;  // no web page at /
  bool log_json = false;
  bool port_given = false,
       admin_port_given = false;  // a port that was asked for is never exchanged for another
};

// $XDG_CACHE_HOME/leadline/kv, or the same below ~/.cache; "" when there is no such place.
std::string default_kv_directory();
// Declares the flags of `up` on `command`, bound to `options`.
void add_up_flags(CLI::App& command, UpOptions& options);
// What does not fit together, in one sentence; "" when all is well.
std::string find_conflict(const UpOptions& options);
// One line per option with its value, for the start of `up`.
std::string describe(const UpOptions& options);

struct UpPlan {                   // what is found out at start: free ports, files
  std::string program_directory;  // where leadline-coordinator and leadline-worker are
  std::string secret_file;
  int port = 0, admin_port = 0;
  std::vector<int> worker_ports;  // (workers) control links, on 127.0.0.1
};

[[nodiscard]] int worker_admin_port(const UpPlan& plan, int worker);
[[nodiscard]] std::vector<std::string> coordinator_command(const UpOptions& options, const UpPlan& plan);
[[nodiscard]] std::vector<std::string> worker_command(const UpOptions& options, const UpPlan& plan,
                                                      int worker);

}  // namespace leadline::deploy
