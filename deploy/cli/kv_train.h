#pragma once
// `leadline kv train LOG -o FILE`: learns a reuse predictor from the first part of an access log and replays
// the rest, which it has not seen, with it and with S3-FIFO. Writes the file only if it saves more seconds
// there; else says so and leaves with 1. Thread: main.

#include <string>

#include "deploy/cli/kv_replay.h"

namespace leadline::deploy {

struct KvTrainOptions {
  KvReplayOptions source;  // log or --workload
  std::string output;
  double train_share = 0.6;     // of the records; the rest is held out
  double capacity_share = 0.1;  // of the distinct bytes
  double horizon_s = 3600;
  double least_gain = 0.005;  // of S3-FIFO's saved seconds
};
void add_kv_train_flags(CLI::App& command, KvTrainOptions& options);
int run_kv_train(const KvTrainOptions& options);  // exit status: 1 also when the result is not better

}  // namespace leadline::deploy
