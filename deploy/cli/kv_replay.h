#pragma once
// `leadline kv replay`: an access log of the KV store, or a generated one, under Belady, LRU, S3-FIFO, GDSF
// and, with --ranker, the learned policy, side by side at several capacities. Not the store itself. Thread:
// main.

#include <string>
#include <vector>

#include "kvstore/replay/access_record.h"

namespace CLI {
class App;
}

namespace leadline::deploy {

struct KvReplayOptions {
  std::string log;       // a file that the store wrote (--kv-access-log), with its older ones
  std::string workload;  // a generated one instead: kvstore::kWorkloads
  std::string save;      // where to write the generated log
  std::uint64_t seed = 1;
  double hours = 4;
  std::vector<double> capacity_shares = {0.02, 0.05, 0.1, 0.2, 0.4};  // of the log's distinct bytes
  std::string ranker;                                                 // a file of `kv train`
  double warm_share = 0.25;                                           // of the records, not counted
  bool json = false;
};
void add_workload_flag(CLI::App& command, KvReplayOptions& options);
void add_kv_replay_flags(CLI::App& command, KvReplayOptions& options);
int run_kv_replay(const KvReplayOptions& options);  // exit status

// The records that the options name; false: said why on stderr.
bool read_records(const KvReplayOptions& options, std::vector<kvstore::AccessRecord>& records);

}  // namespace leadline::deploy
