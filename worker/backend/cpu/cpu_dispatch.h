#pragma once
// Which kernel table runs here: an ordered list of candidates, a predicate each (CPU flags and OS state), an
// override by name. Not the choice of a device (backend.cpp). Pure but for cpuid. Thread: any.

#include <span>
#include <string>
#include <string_view>

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/errc.h"

namespace leadline::worker::cpu {

struct KernelCandidate {
  std::string_view name;
  const CpuKernels* kernels = nullptr;  // null: not built for this architecture
  const char* needs = "";               // CPU features, for messages
  bool (*runs_here)() = nullptr;
};

// Best first; the last, scalar, always runs.
std::span<const KernelCandidate> kernel_candidates();

// `name` empty: the best that runs here. Else that one, or Errc::configuration with the reason and the names
// known.
Result<const CpuKernels*> select_kernels(std::string_view name);

}  // namespace leadline::worker::cpu
