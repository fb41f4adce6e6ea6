#pragma once
// What the conformance suite compares a backend with: f64 references, stored-format conversions of their own,
// random inputs and poisoned outputs. Not a backend. Thread: one test.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/support/device_backends.h"
#include "tests/support/staged_backend.h"
#include "worker/backend/backend.h"

namespace leadline::worker::conformance {

constexpr double kEps32 = 5.9604644775390625e-8;  // 2^-24, half a unit in the last place of f32

using Floats = std::vector<float>;

// Deterministic normal values.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  float normal(float deviation = 1) { return deviation * normal_(engine_); }
  std::int32_t below(std::int32_t n) {
    return static_cast<std::int32_t>(engine_() % static_cast<std::uint32_t>(n));
  }
  Floats normals(std::int64_t n, float deviation = 1) {
    Floats v(static_cast<std::size_t>(n));
    for (float& x : v) x = normal(deviation);
    return v;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

inline Floats poisoned(std::int64_t n) {
  return Floats(static_cast<std::size_t>(n), std::numeric_limits<float>::quiet_NaN());
}

// Rounding to p significant bits (nearest, ties to even) in f64: bf16 has 8 bits and exponents down to -126,
// f16 11 and -14.
inline double rounded(double x, DType to) {
  if (to == DType::f32 || x == 0) return x;
  const int bits = to == DType::bf16 ? 8 : 11, lowest = to == DType::bf16 ? -126 : -14;
  int exponent;
  std::frexp(x, &exponent);  // |x| in [2^(e-1), 2^e)
  const double unit = std::ldexp(1.0, std::max(exponent - 1, lowest) - (bits - 1));
  return std::nearbyint(x / unit) * unit;
}

// Stored bits of a value that the format holds exactly.
inline std::uint16_t bits16(double x, DType format) {
  std::uint32_t b;
  if (format == DType::bf16) {
    const float f = static_cast<float>(x);
    std::memcpy(&b, &f, 4);
    return static_cast<std::uint16_t>(b >> 16);
  }
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  x = std::fabs(x);
  if (x < std::ldexp(1.0, -14))
    return static_cast<std::uint16_t>(sign | static_cast<int>(x * std::ldexp(1.0, 24)));
  int exponent;
  const double fraction = std::frexp(x, &exponent);
  return static_cast<std::uint16_t>(sign | ((exponent + 14) << 10) |
                                    (static_cast<int>(fraction * 2048) & 0x3ff));
}

// A random (outputs, inputs) checkpoint tensor in a dtype, and its exact values.
struct StoredMatrix {
  std::vector<std::uint8_t> bytes;
  Floats values;
  WeightPart part;
};
inline StoredMatrix random_weights(Random& random, std::int64_t outputs, std::int64_t inputs, DType dtype,
                                   std::int64_t row_stride = 0) {
  StoredMatrix m;
  if (row_stride == 0) row_stride = inputs;
  const std::size_t size = transport::bits_of(dtype) / 8;
  m.bytes.resize(static_cast<std::size_t>(outputs * row_stride) * size);
  m.values.resize(static_cast<std::size_t>(outputs * inputs));
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      const float v = static_cast<float>(rounded(random.normal(0.5f), dtype));
      m.values[static_cast<std::size_t>(o * inputs + i)] = v;
      const std::uint16_t half = dtype == DType::f32 ? std::uint16_t{0} : bits16(v, dtype);
      std::uint8_t* at = m.bytes.data() + static_cast<std::size_t>(o * row_stride + i) * size;
      if (dtype == DType::f32)
        std::memcpy(at, &v, 4);
      else
        std::memcpy(at, &half, 2);
    }
  }
  m.part = {m.bytes.data(), dtype, outputs, inputs, row_stride};
  return m;
}

inline bool is_device(const std::string& name) {
  return name.starts_with("cuda");
}

// A kernel table of the CPU by its name, or a device by its.
inline std::unique_ptr<Backend> backend_with(const std::string& isa, int threads = 1) {
  if (is_device(isa)) {
    auto device = tests::device_backend(isa);
    return device ? tests::make_staged(std::move(device)) : nullptr;
  }
  BackendOptions options;
  options.device = "cpu";
  options.isa = isa;
  options.threads = threads;
  auto backend = make_backend(options);
  return backend ? std::move(*backend) : nullptr;
}

}  // namespace leadline::worker::conformance
