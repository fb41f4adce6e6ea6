#pragma once
// `leadline kv ...`: the subcommands about the KV store, and which of them was named. Not their work
// (kv_replay, kv_train). Thread: main.

#include <functional>

namespace CLI {
class App;
}

namespace leadline::deploy {

// What to run when `command` was parsed; its exit status.
std::function<int()> add_kv_command(CLI::App& command);

}  // namespace leadline::deploy
