#pragma once
// `leadline policy ...`: flags -> one of its commands. Not the commands: each has a file of its own.
// Thread: main.

#include <functional>
#include <memory>

namespace CLI {
class App;
}

namespace leadline::deploy {

// Adds the subcommands to `command`; the function that comes back runs the one that was parsed.
std::function<int()> add_policy_command(CLI::App& command);

}  // namespace leadline::deploy
