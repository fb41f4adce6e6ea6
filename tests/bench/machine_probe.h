#pragma once
// The machine's ceilings, measured in the same run as the kernels: read bandwidth of memory and f32
// multiply-add rate, on T threads. Not a benchmark of ours. Thread: starts its own.

namespace leadline::bench {

struct MachineProbe {
  double read_gb_per_s = 0;    // best of several passes over memory far larger than a core's caches
  double f32_gflop_per_s = 0;  // fused multiply-adds at the host's widest vectors
};
MachineProbe probe_machine(int threads);

}  // namespace leadline::bench
