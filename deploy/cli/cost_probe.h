#pragma once
// `leadline policy costs`: measures what a layer, the head and a probe cost on this machine by rows and
// context, as the cost table that replay and training charge (policy/trainer/cost_table.h). Runs the real
// transformer with layer ranges, as rounds do. Thread: main; the backend has its own pool.

#include <string>

namespace CLI {
class App;
}

namespace leadline::deploy {

struct CostOptions {
  std::string model, out;
  int repeats = 5, max_rows = 128, threads = 0;
  bool median = false;
};

void add_cost_flags(CLI::App& command, CostOptions& options);
int run_costs(const CostOptions& options);  // exit status

}  // namespace leadline::deploy
