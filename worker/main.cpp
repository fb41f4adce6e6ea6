// leadline-worker: one process per rank. Flags -> config -> run_worker; nothing else.

#include <cstdio>

#include "worker/runtime/worker.h"
#ifdef LEADLINE_WITH_CUDA
#include "worker/backend/cuda/register_cuda.h"
#endif
#ifdef LEADLINE_WITH_NCCL
#include "transport/collective/nccl_communicator.h"
#endif

int main(int argc, char** argv) {
  const leadline::worker::ParsedFlags flags = leadline::worker::parse_worker_flags(argc, argv);
  if (!flags.run) {
    std::fprintf(flags.exit_code == 0 ? stdout : stderr, "%s\n", flags.text.c_str());
    return flags.exit_code;
  }
#ifdef LEADLINE_WITH_CUDA
  leadline::worker::cuda::register_cuda_backend();
#endif
#ifdef LEADLINE_WITH_NCCL
  namespace transport = leadline::transport;
  transport::register_device_communicator(
      [](std::unique_ptr<transport::Communicator> hosts, std::chrono::milliseconds stall_limit) {
        return transport::NcclCommunicator::create(transport::nccl_library(), std::move(hosts), stall_limit);
      });
#endif
  return leadline::worker::run_worker(flags.config);
}
