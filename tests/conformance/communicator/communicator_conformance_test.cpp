// Starts groups of every implementation and size, and holds each rank to the laws of communicator_laws.cpp.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/conformance/communicator/communicator_laws.h"
#include "tests/support/free_port.h"

namespace leadline::tests {
namespace {

struct GroupCase {
  const char* backend;
  int ranks;
};

std::string output_of(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string text;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  ::pclose(pipe);
  return text;
}

// What LeaderWorkerSet sets in each pod, and nothing else but the token and the port.
std::string leader_worker_set(int pods, const std::string& program) {
  const std::string port = std::to_string(free_port());
  std::string all;
  for (int pod = 0; pod < pods; ++pod)
    all += "LEADLINE_COLLECTIVE=tcp LEADLINE_GROUP_TOKEN=of-this-group LEADLINE_RENDEZVOUS_PORT=" + port +
           " LWS_LEADER_ADDRESS=localhost LWS_GROUP_SIZE=" + std::to_string(pods) +
           " LWS_WORKER_INDEX=" + std::to_string(pod) + " " + program + " & ";
  return "( " + all + "wait )";
}

// The shell line that runs `laws` on every rank of the group.
std::string command_for(const GroupCase& group, const std::string& laws) {
  const std::string program = std::string("timeout -k 1 60 ") + LEADLINE_LAWS_PROGRAM + " " + laws;
  const std::string backend = std::string("LEADLINE_COLLECTIVE=") + group.backend + " ";
  if (std::string_view(group.backend) == "mpi" || std::string_view(group.backend) == "shm_mpirun") {
    const std::string forced = std::string_view(group.backend) == "mpi" ? "mpi" : "auto";
    return "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -k 1 90 mpirun --oversubscribe "
           "--bind-to none "
           "--mca odls_base_sigkill_timeout 3 -x LEADLINE_COLLECTIVE=" +
           forced + " -n " + std::to_string(group.ranks) + " " + LEADLINE_LAWS_PROGRAM + " " + laws;
  }
  if (group.ranks == 1) return backend + program;
  if (std::string_view(group.backend) == "tcp_lws") return leader_worker_set(group.ranks, program);
  const std::string meeting = "LEADLINE_RENDEZVOUS=127.0.0.1:" + std::to_string(free_port());
  std::string all;
  for (int rank = 0; rank < group.ranks; ++rank) {
    all += backend + meeting + " LEADLINE_WORLD=" + std::to_string(group.ranks) +
           " LEADLINE_RANK=" + std::to_string(rank) + " " + program + " & ";
  }
  return "( " + all + "wait )";
}

class CommunicatorConformance : public testing::TestWithParam<GroupCase> {
 protected:
  // Every rank that is to speak says "ok" on the expected implementation, and leaves.
  static void expect_law(const Law& law, const std::string& output) {
    const GroupCase& group = GetParam();
    const int speakers = group.ranks - (law.last_rank_dies ? 1 : 0);
    for (int rank = 0; rank < speakers; ++rank) {
      std::string line = std::string("ok ") + law.name + " rank " + std::to_string(rank) + " on ";
      const std::string_view backend = group.backend;
      line += group.ranks == 1                           ? "identity"
              : backend == "mpi"                         ? "mpi"
              : backend == "tcp" || backend == "tcp_lws" ? "tcp"
                                                         : "shm";
      EXPECT_NE(output.find(line), std::string::npos) << line << "\nin:\n" << output;
    }
    EXPECT_EQ(output.find("broken"), std::string::npos) << output;
  }
};

TEST_P(CommunicatorConformance, LivingGroupsKeepTheLaws) {
  const std::string output = output_of(command_for(GetParam(), "all"));
  for (const Law& law : communicator_laws()) {
    if (!law.ends_group) expect_law(law, output);
  }
  std::size_t left = 0;
  for (std::size_t at = 0; (at = output.find("left\n", at)) != std::string::npos; ++at) ++left;
  EXPECT_EQ(left, static_cast<std::size_t>(GetParam().ranks)) << output;
  if (const auto at = output.find("all_gather of 8 KiB"); at != std::string::npos) {
    const auto line = output.rfind('\n', at);
    std::printf("%s\n", output.substr(line + 1, output.find('\n', at) - line - 1).c_str());
  }
}

TEST_P(CommunicatorConformance, LossesAreNamedInTime) {
  for (const Law& law : communicator_laws()) {
    if (!law.ends_group || GetParam().ranks < law.least_ranks) continue;
    expect_law(law, output_of(command_for(GetParam(), law.name)));
  }
}

std::vector<GroupCase> cases() {
  std::vector<GroupCase> all = {{"identity", 1}, {"shm", 2}, {"shm", 4},
                                {"tcp", 2},      {"tcp", 4}, {"tcp_lws", 3}};
#ifdef LEADLINE_WITH_MPI
  for (const GroupCase& more : {GroupCase{"mpi", 1}, {"mpi", 2}, {"mpi", 4}, {"shm_mpirun", 2}})
    all.push_back(more);
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(Groups, CommunicatorConformance, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.backend) + "_" + std::to_string(info.param.ranks);
});

}  // namespace
}  // namespace leadline::tests
