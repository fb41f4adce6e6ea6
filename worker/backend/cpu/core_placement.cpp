#include "worker/backend/cpu/core_placement.h"

#include <algorithm>

namespace leadline::worker::cpu {
namespace {

constexpr int kMaxThreads = 256;

int count_cores(const CpuTopology& topology) {
  std::size_t cores = 0;
  for (const CoreNode& node : topology) cores += node.cores.size();
  return static_cast<int>(cores);
}

// The cores of a rank that has whole nodes, or a part of one: ranks are dealt to nodes in order, and share
// what is on theirs evenly.
CpuTopology share_of(const CpuTopology& topology, int rank, int ranks) {
  const int nodes = static_cast<int>(topology.size());
  if (ranks <= nodes)  // rank r: nodes [r * N / R, (r + 1) * N / R)
    return {topology.begin() + rank * nodes / ranks, topology.begin() + (rank + 1) * nodes / ranks};
  const int home = rank * nodes / ranks;
  const auto first_on = [&](int node) { return (node * ranks + nodes - 1) / nodes; };
  const int place = rank - first_on(home), sharers = first_on(home + 1) - first_on(home);
  const CoreNode& node = topology[static_cast<std::size_t>(home)];
  const int cores = static_cast<int>(node.cores.size());
  return {
      {node.node,
       {node.cores.begin() + place * cores / sharers, node.cores.begin() + (place + 1) * cores / sharers}}};
}

}  // namespace

Placement place_threads(const CpuTopology& topology, const PlacementWish& wish) {
  const CpuTopology share = share_of(topology, wish.rank, wish.ranks);
  const int own = count_cores(share), all = count_cores(topology);
  Placement placement;
  placement.threads = wish.threads > 0 ? wish.threads : std::clamp(own, 1, kMaxThreads);
  if (topology.size() > 1)
    for (const CoreNode& node : share) placement.nodes.push_back(node.node);
  const int wanted = (wish.threads > 0 ? wish.threads : 1) * wish.ranks;
  if (placement.threads > own || wanted > all) return placement;
  // Fewer threads than cores: from each node of the share in turn, so that all its memory channels are used.
  for (std::size_t i = 0; static_cast<int>(placement.cores.size()) < placement.threads; ++i)
    for (const CoreNode& node : share)
      if (i < node.cores.size() && static_cast<int>(placement.cores.size()) < placement.threads)
        placement.cores.push_back(node.cores[i]);
  return placement;
}

std::string describe(const CpuTopology& topology, const Placement& placement) {
  std::string text =
      std::to_string(placement.threads) + " threads of " + std::to_string(count_cores(topology)) + " cores";
  for (std::size_t i = 0; i < placement.nodes.size(); ++i)
    text += (i == 0 ? " on node " : ", ") + std::to_string(placement.nodes[i]);
  return text +
         (placement.cores.empty() ? ", not pinned: ranks and threads outnumber the cores" : ", pinned");
}

}  // namespace leadline::worker::cpu
