#include "worker/backend/cpu/machine_topology.h"

#include <sched.h>
#include <unistd.h>

#include <map>

#ifdef LEADLINE_WITH_NUMA
#include <numa.h>
#endif

namespace leadline::worker::cpu {
namespace {

#ifdef LEADLINE_WITH_NUMA
bool has_nodes() {
  return numa_available() >= 0 && numa_num_configured_nodes() > 1;
}
int node_of(int core) {
  return has_nodes() ? numa_node_of_cpu(core) : 0;
}
#else
int node_of(int) {
  return 0;
}
#endif

CpuTopology read_topology() {
  std::map<int, std::vector<int>> nodes;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) nodes[std::max(node_of(core), 0)].push_back(core);
  if (nodes.empty()) nodes[0].push_back(0);
  CpuTopology topology;
  for (auto& [node, cores] : nodes) topology.push_back({node, std::move(cores)});
  return topology;
}

}  // namespace

const CpuTopology& machine_topology() {
  static const CpuTopology topology = read_topology();
  return topology;
}

int available_cores() {
  std::size_t cores = 0;
  for (const CoreNode& node : machine_topology()) cores += node.cores.size();
  return static_cast<int>(cores);
}

void prefer_nodes(const std::vector<int>& nodes) {
#ifdef LEADLINE_WITH_NUMA
  if (nodes.empty() || !has_nodes()) return;
  if (nodes.size() == 1) return numa_set_preferred(nodes[0]);
  bitmask* mask = numa_allocate_nodemask();
  for (const int node : nodes) numa_bitmask_setbit(mask, static_cast<unsigned>(node));
  numa_set_interleave_mask(mask);
  numa_free_nodemask(mask);
#else
  (void)nodes;
#endif
}

}  // namespace leadline::worker::cpu
