#include "worker/backend/cpu/core_placement.h"

#include <gtest/gtest.h>

#include <set>

namespace leadline::worker::cpu {
namespace {

using Cores = std::vector<int>;

CpuTopology machine(int nodes, int cores_each) {
  CpuTopology topology;
  for (int n = 0; n < nodes; ++n) {
    topology.push_back({n, {}});
    for (int c = 0; c < cores_each; ++c) topology.back().cores.push_back(n * cores_each + c);
  }
  return topology;
}

TEST(CorePlacement, OneRankTakesAllCoresOfAMachineWithOneNode) {
  const Placement p = place_threads(machine(1, 4), {0, 0, 1});
  EXPECT_EQ(p.threads, 4);
  EXPECT_EQ(p.cores, (Cores{0, 1, 2, 3}));
  EXPECT_TRUE(p.nodes.empty()) << "memory is left alone where it is all the same";
}

TEST(CorePlacement, TwoRanksOnTwoCoresTakeOneEach) {
  for (int rank = 0; rank < 2; ++rank) {
    const Placement p = place_threads(machine(1, 2), {0, rank, 2});
    EXPECT_EQ(p.threads, 1);
    EXPECT_EQ(p.cores, Cores{rank});
  }
}

TEST(CorePlacement, MoreRanksThanCoresAreNotPinned) {
  for (int rank = 0; rank < 4; ++rank) {
    const Placement p = place_threads(machine(1, 2), {0, rank, 4});
    EXPECT_EQ(p.threads, 1);
    EXPECT_TRUE(p.cores.empty());
  }
  EXPECT_TRUE(place_threads(machine(1, 2), {3, 0, 1}).cores.empty()) << "three threads were asked for";
}

TEST(CorePlacement, ARankPerNodeStaysOnIt) {
  for (int rank = 0; rank < 2; ++rank) {
    const Placement p = place_threads(machine(2, 8), {0, rank, 2});
    EXPECT_EQ(p.threads, 8);
    EXPECT_EQ(p.nodes, Cores{rank});
    for (const int core : p.cores) EXPECT_EQ(core / 8, rank);
  }
}

TEST(CorePlacement, FourRanksOnTwoNodesShareEachByTwo) {
  std::set<int> all;
  for (int rank = 0; rank < 4; ++rank) {
    const Placement p = place_threads(machine(2, 8), {0, rank, 4});
    EXPECT_EQ(p.threads, 4);
    EXPECT_EQ(p.nodes, Cores{rank / 2});
    all.insert(p.cores.begin(), p.cores.end());
  }
  EXPECT_EQ(all.size(), 16u);
}

TEST(CorePlacement, OneRankOverTwoNodesUsesBothsMemoryAndBothsCores) {
  const Placement all = place_threads(machine(2, 4), {0, 0, 1});
  EXPECT_EQ(all.threads, 8);
  EXPECT_EQ(all.nodes, (Cores{0, 1}));
  const Placement some = place_threads(machine(2, 4), {4, 0, 1});
  EXPECT_EQ(some.cores, (Cores{0, 4, 1, 5}));
}

TEST(CorePlacement, NodesAndCoresKeepTheirNumbers) {
  const CpuTopology odd{{1, {9, 11}}, {3, {30, 31, 34}}};  // a container's part of a machine
  const Placement p = place_threads(odd, {0, 1, 2});
  EXPECT_EQ(p.cores, (Cores{30, 31, 34}));
  EXPECT_EQ(p.nodes, Cores{3});
}

TEST(CorePlacement, ThreeRanksOnTwoNodes) {
  std::multiset<int> cores;
  for (int rank = 0; rank < 3; ++rank) {
    const Placement p = place_threads(machine(2, 6), {0, rank, 3});
    EXPECT_EQ(p.nodes.size(), 1u);
    cores.insert(p.cores.begin(), p.cores.end());
  }
  EXPECT_EQ(cores.size(), 12u);
  for (const int core : cores) EXPECT_EQ(cores.count(core), 1u) << core;
}

// Whatever the machine: no core has two threads when all are pinned, and every thread that is pinned is on a
// core of the nodes that its memory is on.
TEST(CorePlacement, SharesNoCoreOnAnyMachine) {
  for (int nodes = 1; nodes <= 4; ++nodes)
    for (int each = 1; each <= 6; ++each)
      for (int ranks = 1; ranks <= 9; ++ranks)
        for (int threads = 0; threads <= 4; ++threads) {
          std::multiset<int> taken;
          for (int rank = 0; rank < ranks; ++rank) {
            const Placement p = place_threads(machine(nodes, each), {threads, rank, ranks});
            ASSERT_GE(p.threads, 1);
            if (threads > 0) ASSERT_EQ(p.threads, threads);
            ASSERT_TRUE(p.cores.empty() || static_cast<int>(p.cores.size()) == p.threads);
            for (const int core : p.cores) {
              taken.insert(core);
              if (nodes > 1) ASSERT_EQ(std::count(p.nodes.begin(), p.nodes.end(), core / each), 1);
            }
          }
          for (const int core : taken) ASSERT_EQ(taken.count(core), 1u) << nodes << each << ranks << threads;
        }
}

TEST(CorePlacement, SaysWhatItChose) {
  EXPECT_EQ(describe(machine(1, 2), place_threads(machine(1, 2), {0, 0, 1})), "2 threads of 2 cores, pinned");
  EXPECT_EQ(describe(machine(2, 2), place_threads(machine(2, 2), {0, 1, 2})),
            "2 threads of 4 cores on node 1, pinned");
}

}  // namespace
}  // namespace leadline::worker::cpu
