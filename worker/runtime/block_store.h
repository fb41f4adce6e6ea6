#pragma once
// From flags to a rank's block store: which tiers, with what share of the bytes. Not the store itself
// (kvstore/tiered_store). Thread: start-up.

#include <memory>

#include "kvstore/replay/access_recorder.h"
#include "kvstore/tiered_store.h"
#include "worker/errc.h"
#include "worker/kvcache/unit_codec.h"
#include "worker/worker_config.h"

namespace leadline::worker {

// Null when no tier is on. Memory is divided among the ranks; the directory is shared by all of them.
// configuration: a flag that cannot work.
Result<std::unique_ptr<kvstore::TieredStore>> open_block_store(const WorkerConfig& config, int ranks,
                                                               kvstore::StoreMetrics metrics,
                                                               const UnitCodec& codec);
// The log of --kv-access-log; null without the flag.
Result<std::unique_ptr<kvstore::AccessRecorder>> open_access_log(const WorkerConfig& config,
                                                                 kvstore::AccessCounters ends);

}  // namespace leadline::worker
