#pragma once
// The machine's ceilings, measured in the same run as the kernels, on T threads: read bandwidth of memory,
// rates of f32 multiply-adds and of whatever matrix instructions the host has. Not a benchmark of ours.
// Thread: starts its own.

namespace leadline::deploy {

struct MachineProbe {
  double read_gb_per_s = 0;     // best of several passes over memory far larger than a core's caches
  double f32_gflop_per_s = 0;   // fused multiply-adds at the host's widest vectors
  double bf16_gflop_per_s = 0;  // AMX tiles; 0: not here
  double int8_gop_per_s = 0;    // AMX tiles, else VNNI; 0: not here
};
MachineProbe probe_machine(int threads);

// The better of two probes in each: neighbours on a shared machine only make it slower.
MachineProbe best_of(const MachineProbe& a, const MachineProbe& b);

}  // namespace leadline::deploy
