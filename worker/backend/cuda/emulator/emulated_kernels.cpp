#include "worker/backend/cuda/emulator/emulated_kernels.h"

#include "worker/backend/cuda/choice_kernels.h"
#include "worker/backend/cuda/kv_kernels.h"
#include "worker/backend/cuda/prefill_kernels.h"
#include "worker/backend/cuda/row_kernels.h"

namespace leadline::worker::cuda {
namespace {

#define LEADLINE_CUDA_ROW(name, Args, function, threads) \
  {#name, threads, sizeof(Args), [](const void* args) { function(*static_cast<const Args*>(args)); }},
const EmulatedKernel kKernels[] = {LEADLINE_CUDA_KERNELS(LEADLINE_CUDA_ROW)};
#undef LEADLINE_CUDA_ROW

float element(const void* data, std::int64_t at, std::int32_t format) {
  return format == kFp8 ? from_fp8(static_cast<const std::uint8_t*>(data)[at]) : widen(data, at, format);
}

}  // namespace

const EmulatedKernel& emulated_kernel(KernelId id) {
  return kKernels[static_cast<int>(id)];
}

void run_emulated(const Launch& launch, const void* args) {
  const EmulatedKernel& kernel = emulated_kernel(launch.kernel);
  FiberPlace place;
  place.threads = kernel.threads;
  place.grid_x = static_cast<int>(launch.grid.x);
  for (place.z = 0; place.z < launch.grid.z; ++place.z)
    for (place.y = 0; place.y < launch.grid.y; ++place.y)
      for (place.x = 0; place.x < launch.grid.x; ++place.x)
        run_block(place, launch.shared_bytes, [&] { kernel.thread(args); });
}

void multiply_emulated(const Product& p) {
  for (std::int64_t s = 0; s < p.slices; ++s) {
    for (std::int64_t r = 0; r < p.rows; ++r) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (std::int64_t i = 0; i < p.k; ++i)
          sum = fused(element(p.x, (s * p.rows + r) * p.k + i, p.format),
                      element(p.w, (s * p.n + j) * p.k + i, p.format), sum);
        p.out[(s * p.rows + r) * p.out_stride + j] = sum;
      }
    }
  }
}

}  // namespace leadline::worker::cuda
