#include "deploy/cli/machine_probe.h"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace leadline::deploy {

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

constexpr std::int64_t kTileSteps = 1'000'000;
constexpr double kTileOperations = 2.0 * 16 * 16;  // per byte of depth and element size: 2 m n, times k

struct TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Static: the intrinsic tells GCC 12 of eight bytes only, so it would leave out the stores of a local one's
// rest.
constexpr TileConfig kTileConfig;

// Four independent sums of two by two operands, as a matrix library keeps them.
__attribute__((target("amx-tile,amx-bf16"))) void multiply_tiles_bf16() {
  _tile_loadconfig(&kTileConfig);
  for (std::int64_t i = 0; i < kTileSteps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) void multiply_tiles_int8() {
  _tile_loadconfig(&kTileConfig);
  for (std::int64_t i = 0; i < kTileSteps; ++i) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("avx512f,avx512vnni"))) float dot_bytes() {
  __m512i sums[16];
  for (int j = 0; j < 16; ++j) sums[j] = _mm512_set1_epi32(j);
  const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
  for (std::int64_t i = 0; i < kFmaSteps; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], a, b);
      asm volatile("" : "+v"(sums[j]));  // or the compiler multiplies once for the whole loop
    }
  }
  int total = 0;
  for (int j = 0; j < 16; ++j) total += _mm_cvtsi128_si32(_mm512_castsi512_si128(sums[j]));
  return float(total);
}

// Tile registers must be asked of the kernel (Linux 5.16 and later).
bool has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool listed = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 &&
                      (d >> 24 & 1) != 0 && (d >> 25 & 1) != 0;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return listed && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Billions of operations per second of a body that does `operations` on each thread.
double best_rate(int threads, double operations, auto body) {
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const double s = seconds_of(threads, [&](int) { body(); });
    best = std::max(best, operations * threads / s / 1e9);
  }
  return best;
}

double multiply_add_rate(int threads) {
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma")) return 0;
  volatile float sink = 0;
  const double operations = 2.0 * double(kFmaSteps) * (wide ? 16 * 16 : 12 * 8);
  return best_rate(threads, operations,
                   [&] { sink = sink + (wide ? multiply_add_512() : multiply_add_256()); });
}

}  // namespace

MachineProbe probe_machine(int threads) {
  MachineProbe probe{read_bandwidth(threads), multiply_add_rate(threads), 0, 0};
  if (has_tiles()) {
    const double steps = double(kTileSteps) * 4 * kTileOperations;
    probe.bf16_gflop_per_s = best_rate(threads, steps * 32, multiply_tiles_bf16);
    probe.int8_gop_per_s = best_rate(threads, steps * 64, multiply_tiles_int8);
  } else if (__builtin_cpu_supports("avx512vnni")) {
    volatile float sink = 0;
    probe.int8_gop_per_s =
        best_rate(threads, 2.0 * double(kFmaSteps) * 16 * 64, [&] { sink = sink + dot_bytes(); });
  }
  return probe;
}

MachineProbe best_of(const MachineProbe& a, const MachineProbe& b) {
  return {std::max(a.read_gb_per_s, b.read_gb_per_s), std::max(a.f32_gflop_per_s, b.f32_gflop_per_s),
          std::max(a.bf16_gflop_per_s, b.bf16_gflop_per_s), std::max(a.int8_gop_per_s, b.int8_gop_per_s)};
}

}  // namespace leadline::deploy
