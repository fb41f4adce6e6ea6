// Which MPI launcher started this process, from its environment alone; also what stands in for MPI where it
// is not built in.

#include <cstdlib>

#include "transport/collective/mpi_session.h"

namespace leadline::transport {

MpiLaunch detect_mpi_launch() {
  struct Candidate {
    const char* mark;  // set by this launcher
    const char* size;  // where it tells the number of ranks
  };
  constexpr Candidate kCandidates[] = {
      {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"},  // Open MPI's mpirun
      {"PMIX_RANK", "SLURM_STEP_NUM_TASKS"},             // srun --mpi=pmix, prun
      {"PMI_SIZE", "PMI_SIZE"},                          // srun --mpi=pmi2, Hydra
  };
  for (const Candidate& candidate : kCandidates) {
    if (std::getenv(candidate.mark) == nullptr) continue;
    const char* size = std::getenv(candidate.size);
    return {true, size == nullptr ? 0 : std::atoi(size)};
  }
  return {};
}

#ifndef LEADLINE_WITH_MPI
Result<std::unique_ptr<MpiSession>> MpiSession::start() {
  return monitoring::fail(Errc::configuration,
                          "an MPI launcher started this process, but it was built without MPI");
}

Result<std::unique_ptr<Communicator>> make_mpi_communicator(std::unique_ptr<MpiSession>,
                                                            std::unique_ptr<GroupLink>,
                                                            std::chrono::milliseconds) {
  return monitoring::fail(Errc::configuration, "built without MPI");
}
#endif

}  // namespace leadline::transport
