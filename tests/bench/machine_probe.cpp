#include "tests/bench/machine_probe.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace leadline::bench {

namespace {

constexpr std::int64_t kBytes = std::int64_t{1} << 30;
constexpr int kPasses = 5;
constexpr std::int64_t kFmaSteps = 4'000'000;

double seconds_of(int threads, auto body) {
  std::vector<std::thread> pool;
  const auto start = std::chrono::steady_clock::now();
  for (int t = 1; t < threads; ++t) pool.emplace_back([&, t] { body(t); });
  body(0);
  for (std::thread& t : pool) t.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

__attribute__((target("avx2"))) std::int64_t read_all(const std::int64_t* p, std::int64_t words) {
  __m256i sums[4] = {};
  for (std::int64_t i = 0; i + 16 <= words; i += 16) {
    for (int j = 0; j < 4; ++j)
      sums[j] =
          _mm256_xor_si256(sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + 4 * j)));
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return _mm256_extract_epi64(all, 0);
}

__attribute__((target("avx512f"))) float multiply_add_512() {
  __m512 sums[16];
  for (int j = 0; j < 16; ++j) sums[j] = _mm512_set1_ps(float(j));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (std::int64_t i = 0; i < kFmaSteps; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_fmadd_ps(sums[j], a, b);
  }
  float total = 0;
  for (int j = 0; j < 16; ++j) total += sums[j][0];
  return total;
}

__attribute__((target("avx2,fma"))) float multiply_add_256() {
  __m256 sums[12];
  for (int j = 0; j < 12; ++j) sums[j] = _mm256_set1_ps(float(j));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (std::int64_t i = 0; i < kFmaSteps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm256_fmadd_ps(sums[j], a, b);
  }
  float total = 0;
  for (int j = 0; j < 12; ++j) total += sums[j][0];
  return total;
}

double read_bandwidth(int threads) {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  (void)madvise(memory, kBytes, MADV_HUGEPAGE);
  auto* words = static_cast<std::int64_t*>(memory);
  const std::int64_t share = kBytes / 8 / threads;
  for (std::int64_t i = 0; i < kBytes / 8; i += 64) words[i] = i;
  volatile std::int64_t sink = 0;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double s = seconds_of(threads, [&](int t) { sink = sink + read_all(words + t * share, share); });
    best = std::max(best, double(kBytes) / s / 1e9);
  }
  munmap(memory, kBytes);
  return best;
}

double multiply_add_rate(int threads) {
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma")) return 0;
  volatile float sink = 0;
  double best = 0;
  const double operations = 2.0 * double(kFmaSteps) * (wide ? 16 * 16 : 12 * 8) * threads;
  for (int pass = 0; pass < 3; ++pass) {
    const double s =
        seconds_of(threads, [&](int) { sink = sink + (wide ? multiply_add_512() : multiply_add_256()); });
    best = std::max(best, operations / s / 1e9);
  }
  return best;
}

}  // namespace

MachineProbe probe_machine(int threads) {
  return {read_bandwidth(threads), multiply_add_rate(threads)};
}

}  // namespace leadline::bench
