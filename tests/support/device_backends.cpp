#include "tests/support/device_backends.h"

#include <cstdio>
#include <utility>

#include "monitoring/check.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/emulator/emulated_runtime.h"

namespace leadline::tests {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // they do not follow a stack that is switched by hand
#else
constexpr bool kSanitized = false;
#endif

}  // namespace

std::vector<std::string> usable_devices() {
  static std::vector<std::string> names;
  static bool looked = false;
  if (std::exchange(looked, true)) return names;
  if (kSanitized)
    std::printf("SKIPPED device cuda_emulated: the sanitizers do not follow its fibers\n");
  else
    names.emplace_back("cuda_emulated");
#ifdef LEADLINE_WITH_CUDA
  if (worker::cuda::visible_devices() > 0)
    names.emplace_back("cuda");
  else
    std::printf("SKIPPED device cuda: compiled, but this machine has no GPU\n");
#else
  std::printf("SKIPPED device cuda: this build has no CUDA toolkit\n");
#endif
  return names;
}

std::unique_ptr<worker::Backend> device_backend(const std::string& name, bool rank_invariant,
                                                bool record_steps) {
  worker::BackendOptions options;
  options.rank_invariant = rank_invariant;
  options.record_steps = record_steps;
  std::unique_ptr<worker::cuda::Runtime> runtime;
  if (name == "cuda_emulated") {
    worker::cuda::EmulatedRuntime::Options emulated;
    emulated.total_bytes = std::int64_t{64} << 20;
    auto made = std::make_unique<worker::cuda::EmulatedRuntime>(emulated);
    made->keep_calls(false);
    runtime = std::move(made);
  }
#ifdef LEADLINE_WITH_CUDA
  if (name == "cuda") {
    options.gpu_memory_utilization = 0.2;  // a test may hold several
    auto opened = worker::cuda::open_device(0);
    LEADLINE_CHECK(opened.has_value(), "the GPU that was visible does not open");
    runtime = std::move(*opened);
  }
#endif
  if (!runtime) return nullptr;
  auto backend = worker::cuda::CudaBackend::create(std::move(runtime), options);
  return backend ? std::move(*backend) : nullptr;
}

}  // namespace leadline::tests
