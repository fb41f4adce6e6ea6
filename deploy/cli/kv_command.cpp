#include "deploy/cli/kv_command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "deploy/cli/kv_disk.h"
#include "deploy/cli/kv_replay.h"
#include "deploy/cli/kv_train.h"

namespace leadline::deploy {

std::function<int()> add_kv_command(CLI::App& command) {
  struct Parsed {
    KvReplayOptions replay;
    KvTrainOptions train;
    std::function<int()> run = [] { return 2; };
  };
  command.require_subcommand(1);
  // Shared: the options live as long as the function that reads them.
  auto parsed = std::make_shared<Parsed>();
  add_kv_disk_commands(command, parsed->run);
  CLI::App* replay =
      command.add_subcommand("replay", "An access log under every eviction policy, side by side");
  add_kv_replay_flags(*replay, parsed->replay);
  replay->callback([p = parsed.get()] { p->run = [p] { return run_kv_replay(p->replay); }; });
  CLI::App* train = command.add_subcommand("train", "Learn a reuse predictor from an access log");
  add_kv_train_flags(*train, parsed->train);
  train->callback([p = parsed.get()] { p->run = [p] { return run_kv_train(p->train); }; });
  return [parsed] { return parsed->run(); };
}

}  // namespace leadline::deploy
