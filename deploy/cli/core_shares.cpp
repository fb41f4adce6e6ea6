#include "deploy/cli/core_shares.h"

#include <sched.h>

#include <cstdint>

namespace leadline::deploy {

std::vector<int> cores_of_worker(std::span<const int> cores, const CoreWish& wish, int worker) {
  const auto all = static_cast<std::int64_t>(cores.size());
  const std::int64_t per_worker = std::int64_t{wish.ranks} * wish.threads;
  if (wish.workers < 2 || wish.threads < 1 || per_worker > all / wish.workers) return {};
  return {cores.begin() + all * worker / wish.workers, cores.begin() + all * (worker + 1) / wish.workers};
}

std::vector<int> own_cores() {
  cpu_set_t set;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

}  // namespace leadline::deploy
