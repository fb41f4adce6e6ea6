#pragma once
// `leadline policy put|report`: a policy, or how a training ended, told to the admin ports of running
// workers; a name that stands for several addresses (a headless Service) means all of them. Not the file's
// way there: workers read the path that they are told. Thread: main.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace leadline::deploy {

struct PutOptions {
  std::vector<std::string> workers;  // HOST:PORT of admin ports
  std::string text;                  // what --speculation takes; report: the outcome
  int timeout_s = 10;                // for each address
};

void add_put_flags(CLI::App& command, PutOptions& options);
void add_report_flags(CLI::App& command, PutOptions& options);

// 0: taken by every worker that answered (one that loads reads its file by itself); 1: refused by one; 2: a
// flag is wrong; 3: none answered.
int run_put(const PutOptions& options);
int run_report(const PutOptions& options);

}  // namespace leadline::deploy
