#pragma once
// Philox 4x32-10: a counter-based generator (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). Not a stream: the output is a function of (key, counter) and nothing else.
// Thread: any; pure. Known answers are in the test.

#include <array>
#include <cstddef>
#include <cstdint>

namespace leadline::worker {

// `Lanes` counters side by side that differ in word 0 only: out[w][i] = word w for counter (first + i, c1,
// c2, c3).
template <std::size_t Lanes>
inline void philox4x32_10(std::uint32_t first, const std::array<std::uint32_t, 3>& c123, std::uint64_t key,
                          std::uint32_t (&out)[4][Lanes]) {
  constexpr std::uint32_t kM0 = 0xD2511F53U, kM1 = 0xCD9E8D57U, kW0 = 0x9E3779B9U, kW1 = 0xBB67AE85U;
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t* __restrict a = out[0];  // four rows that do not overlap: the lanes become vector lanes
  std::uint32_t* __restrict b = out[1];
  std::uint32_t* __restrict c = out[2];
  std::uint32_t* __restrict d = out[3];
  for (std::size_t i = 0; i < Lanes; ++i) {
    a[i] = first + static_cast<std::uint32_t>(i);
    b[i] = c123[0];
    c[i] = c123[1];
    d[i] = c123[2];
  }
  for (int round = 0; round < 10; ++round, k0 += kW0, k1 += kW1) {
#pragma GCC unroll 1  // unrolled wholly, it would not be vectorised
    for (std::size_t i = 0; i < Lanes; ++i) {
      const std::uint64_t p0 = std::uint64_t{kM0} * a[i], p1 = std::uint64_t{kM1} * c[i];
      const std::uint32_t next_a = static_cast<std::uint32_t>(p1 >> 32) ^ b[i] ^ k0;
      const std::uint32_t next_c = static_cast<std::uint32_t>(p0 >> 32) ^ d[i] ^ k1;
      b[i] = static_cast<std::uint32_t>(p1);
      d[i] = static_cast<std::uint32_t>(p0);
      a[i] = next_a;
      c[i] = next_c;
    }
  }
}

}  // namespace leadline::worker
