#include "worker/backend/cuda/register_cuda.h"

#include <cstdlib>

#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::worker::cuda {

namespace {

Result<std::unique_ptr<Backend>> make(const BackendOptions& options) {
  const char* wanted = std::getenv("LEADLINE_GPU");
  auto runtime = open_device(wanted != nullptr ? std::atoi(wanted) : options.rank_on_host);
  if (!runtime) return tl::unexpected(runtime.error());
  return CudaBackend::create(std::move(*runtime), options);
}

}  // namespace

void register_cuda_backend() {
  register_cuda({[] { return visible_devices() > 0; }, make});
}

}  // namespace leadline::worker::cuda
