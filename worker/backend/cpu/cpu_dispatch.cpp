#include "worker/backend/cpu/cpu_dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace leadline::worker::cpu {

namespace {

bool always() {
  return true;
}

#if defined(__x86_64__)
// __builtin_cpu_supports looks at the OS's saved register state (XGETBV) too.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_vnni() {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
bool has_avx512_bf16() {
  return has_avx512_vnni() && __builtin_cpu_supports("avx512bf16");
}
// Tile registers must be asked of the kernel, once per process (Linux 5.16 and later).
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool listed =
      __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 24 & 1) != 0 && (d >> 25 & 1) != 0;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return listed && has_avx512_vnni() && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 && has_amx() &&
         __builtin_cpu_supports("avx512bf16");
}
constexpr const CpuKernels* kAmxBf16 = &kAmxBf16Kernels;
constexpr const CpuKernels* kAmx = &kAmxKernels;
constexpr const CpuKernels* kAvx512Bf16 = &kAvx512Bf16Kernels;
constexpr const CpuKernels* kAvx512Vnni = &kAvx512VnniKernels;
constexpr const CpuKernels* kAvx2 = &kAvx2Kernels;
constexpr const CpuKernels* kAvx512 = &kAvx512Kernels;
#else
bool never() {
  return false;
}
constexpr auto has_avx2 = never, has_avx512 = never, has_avx512_vnni = never, has_avx512_bf16 = never,
               has_amx = never, has_amx_bf16 = never;
constexpr const CpuKernels* kAvx2 = nullptr;
constexpr const CpuKernels* kAvx512 = nullptr;
constexpr const CpuKernels* kAvx512Vnni = nullptr;
constexpr const CpuKernels* kAvx512Bf16 = nullptr;
constexpr const CpuKernels* kAmx = nullptr;
constexpr const CpuKernels* kAmxBf16 = nullptr;
#endif

const KernelCandidate kCandidates[] = {
    {"amxbf16", kAmxBf16,
     "AVX-512 with VNNI and BF16, AMX tiles, int8 and bf16, and a kernel that grants them", has_amx_bf16},
    {"amx", kAmx, "AVX-512 with VNNI, AMX tiles and int8, and a kernel that grants them", has_amx},
    {"avx512vnni", kAvx512Vnni, "AVX-512 F, BW, DQ, VL, VNNI", has_avx512_vnni},
    // After avx512vnni, so only where asked for: it is slower but for decoding (docs/performance.md).
    {"avx512bf16", kAvx512Bf16, "AVX-512 F, BW, DQ, VL, VNNI, BF16", has_avx512_bf16},
    {"avx512", kAvx512, "AVX-512 F, BW, DQ, VL", has_avx512},
    {"avx2", kAvx2, "AVX2, FMA, F16C", has_avx2},
    {"scalar", &kScalarKernels, "", always},
};

}  // namespace

std::span<const KernelCandidate> kernel_candidates() {
  return kCandidates;
}

Result<const CpuKernels*> select_kernels(std::string_view name) {
  std::string known;
  for (const KernelCandidate& c : kCandidates) {
    const bool usable = c.kernels && c.runs_here();
    if (usable && (name.empty() || name == c.name)) return c.kernels;
    if (name == c.name)
      return monitoring::fail(Errc::configuration,
                              "isa " + std::string(name) + ": this machine lacks " + c.needs);
    known += (known.empty() ? "" : ", ") + std::string(c.name);
  }
  return monitoring::fail(Errc::configuration, "isa " + std::string(name) + ": unknown; one of " + known);
}

}  // namespace leadline::worker::cpu
