#pragma once
// What `leadline bench engine` prints: JSON for scripts, a table for people. Pure.

#include <string>

#include "deploy/cli/engine_bench.h"

namespace leadline::deploy {

std::string engine_bench_json(const EngineBenchOptions& asked, const EngineBenchResult& result);
std::string engine_bench_text(const EngineBenchOptions& asked, const EngineBenchResult& result);

}  // namespace leadline::deploy
