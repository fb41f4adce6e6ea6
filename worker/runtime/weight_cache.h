#pragma once
// Where this process keeps packed weights: --weight-cache, the model's directory and the user's cache folder
// as they are on this machine. Not the cache (model/packed_cache). Thread: main's.

#include "worker/model/transformer.h"
#include "worker/worker_config.h"

namespace leadline::worker {

// Sets what a load needs to know of it. "auto" leaves models alone that load in no time.
void keep_packed_weights(const WorkerConfig& config, TransformerOptions& load);

}  // namespace leadline::worker
