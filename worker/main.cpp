// leadline-worker: one process per rank. Flags -> config -> run_worker; nothing else.

#include <cstdio>

#include "worker/runtime/worker.h"

int main(int argc, char** argv) {
  const leadline::worker::ParsedFlags flags = leadline::worker::parse_worker_flags(argc, argv);
  if (!flags.run) {
    std::fprintf(flags.exit_code == 0 ? stdout : stderr, "%s\n", flags.text.c_str());
    return flags.exit_code;
  }
  return leadline::worker::run_worker(flags.config);
}
