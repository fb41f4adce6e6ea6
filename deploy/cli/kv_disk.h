#pragma once
// `leadline kv ls|show|verify|gc|stats`: a directory of KV blocks, beside whatever servers use it, and with
// --admin what a worker says of its tiers. Nothing here can give a server wrong bytes: files are only read,
// moved to quarantine where they are damaged, or removed, which is a miss. Thread: main.

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace leadline::deploy {

struct KvDiskOptions {
  std::string directory;  // default: where `up` keeps its blocks
  bool json = false;
  std::size_t limit = 40;      // ls: rows
  std::string model;           // ls, gc: a fingerprint's beginning
  std::string key;             // show: a key's beginning, with -HEAD behind it if wanted
  bool quarantine = false;     // verify: move damage there; gc: empty it
  std::string older_than;      // gc: 90s, 15m, 6h, 7d
  std::int64_t max_bytes = 0;  // gc: what may stay; 0: no limit
  bool dry_run = false;        // gc
  std::string admin;           // stats: a worker's admin address
};

// Declares ls, show, verify, gc and stats on `command`; the one that was named is put into `run`.
void add_kv_disk_commands(CLI::App& command, std::function<int()>& run);

}  // namespace leadline::deploy
