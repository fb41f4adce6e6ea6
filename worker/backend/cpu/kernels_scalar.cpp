#include "worker/backend/cpu/cpu_kernels_impl.h"
#include "worker/backend/cpu/vector_scalar.h"

namespace leadline::worker::cpu {

constexpr CpuKernels kScalarKernels = table_of<Scalar>("scalar");

}  // namespace leadline::worker::cpu
