#pragma once
// MpiSession: MPI between init and finalize, and what bootstrap asks of it: rank, size, one host or several,
// one small broadcast under a deadline. Not a communicator. The only other file that includes mpi.h is
// mpi_communicator.cpp. Thread: one at a time (MPI_THREAD_SERIALIZED); start from main, afterwards the step
// thread. Invariant: nothing waits inside MPI without a deadline: finalize that does not end within 10 s ends
// the process (exit 70).

#include <memory>
#include <string>

#include "transport/collective/linked_communicator.h"

namespace leadline::transport {

// True when an MPI launcher's environment is there (mpirun, or srun with PMIx/PMI), and the size it tells, 0
// if unknown.
struct MpiLaunch {
  bool present = false;
  int size = 0;
};
MpiLaunch detect_mpi_launch();

class MpiSession : public LaunchSession {
 public:
  // configuration: built without MPI, or the library offers too little thread support.
  static Result<std::unique_ptr<MpiSession>> start();
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual bool one_host() const = 0;  // every rank shares this one's memory
  // rank 0's text on every rank; at most 4,096 bytes. timeout past the deadline.
  virtual Result<std::string> share_text(const std::string& from_rank_0, SteadyTime deadline) = 0;
};

Result<std::unique_ptr<Communicator>> make_mpi_communicator(std::unique_ptr<MpiSession> session,
                                                            std::unique_ptr<GroupLink> link,
                                                            std::chrono::milliseconds stall_limit);

}  // namespace leadline::transport
