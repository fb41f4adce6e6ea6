#pragma once
// `leadline kv stats`: sums over a directory of KV blocks, and what a worker's admin port says of its tiers.
// Thread: main.

#include "deploy/cli/kv_disk.h"

namespace leadline::kvstore {
class DiskFiles;
}

namespace leadline::deploy {

int run_kv_stats(const KvDiskOptions& options, const kvstore::DiskFiles& files);

}  // namespace leadline::deploy
