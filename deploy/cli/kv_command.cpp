#include "deploy/cli/kv_command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "deploy/cli/kv_replay.h"
#include "deploy/cli/kv_train.h"

namespace leadline::deploy {

std::function<int()> add_kv_command(CLI::App& command) {
  command.require_subcommand(1);
  // Shared: the options live as long as the function that reads them.
  auto replay = std::make_shared<KvReplayOptions>();
  auto train = std::make_shared<KvTrainOptions>();
  CLI::App* replay_command =
      command.add_subcommand("replay", "An access log under every eviction policy, side by side");
  add_kv_replay_flags(*replay_command, *replay);
  add_kv_train_flags(*command.add_subcommand("train", "Learn a reuse predictor from an access log"), *train);
  return [replay, train, replay_command] {
    return replay_command->parsed() ? run_kv_replay(*replay) : run_kv_train(*train);
  };
}

}  // namespace leadline::deploy
