// Laws of every Backend: products, norms, activations, embeddings, sums over ranks. (Attention:
// backend_attention_test.cpp.) Every kernel table of the host x awkward shapes, against f64 with a tolerance
// from eps and norms; batch, thread, rank and ISA invariance with ==. Outputs are poisoned with NaN before
// each call.

#include "worker/backend/backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "tests/conformance/backend_reference.h"
#include "worker/backend/cpu/cpu_dispatch.h"

namespace leadline::worker::conformance {
namespace {

class BackendConformance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    backend_ = backend_with(GetParam());
    ASSERT_NE(backend_, nullptr);
  }
  Floats product(Backend& backend, const Floats& x, const PackedMatrix& w, const Floats& bias = {}) {
    const auto rows = static_cast<std::int64_t>(x.size()) / w.in_features();
    Floats out = poisoned(rows * w.out_features());
    const ConstFloatMatrix in(x.data(), rows, w.in_features());
    if (w.slices() > 1)
      backend.linear_sliced(in, w, FloatMatrix(out.data(), rows, w.out_features()));
    else
      backend.linear(in, w, bias, FloatMatrix(out.data(), rows, w.out_features()));
    return out;
  }
  std::unique_ptr<PackedMatrix> pack(Backend& backend, const WeightPart& part, DType format, int slices = 1) {
    auto packed = backend.pack(std::span(&part, 1), format, slices);
    EXPECT_TRUE(packed.has_value());
    return std::move(*packed);
  }
  std::unique_ptr<Backend> backend_;
};

// A table with an arithmetic of its own: activations go into bf16 tiles as two parts.
bool splits_activations(const Backend& backend, DType format) {
  return format == DType::bf16 && backend.arithmetic_id().find("bf16x2") != std::string::npos;
}

// A device rounds activations to the weights' format on the way into a product; the CPU does not, but where
// it splits them what the second part leaves out is gone.
Floats as_multiplied(const Backend& backend, const std::string& name, Floats x, DType format) {
  for (float& v : x) {
    const double high = rounded(v, format);
    if (is_device(name)) v = static_cast<float>(high);
    if (splits_activations(backend, format)) v = static_cast<float>(high + rounded(float(v - high), format));
  }
  return x;
}

// Weight formats of a backend that these laws hold for.
std::vector<DType> formats_of(const std::string& backend) {
  if (is_device(backend)) return {DType::f32, DType::bf16, DType::f16, DType::i4};
  return {DType::f32, DType::bf16, DType::f16, DType::i8, DType::i4};
}
bool is_quantised(DType format) {
  return format == DType::i8 || format == DType::i4;
}

void expect_product(const Floats& out, const Floats& x, const StoredMatrix& w, DType format,
                    const Floats& bias) {
  const std::int64_t k = w.part.in_features, n = w.part.out_features,
                     rows = static_cast<std::int64_t>(x.size()) / k;
  const double growth =
      (4 * std::sqrt(double(k)) + 8) * kEps32;  // random walk of k roundings, with a wide margin
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0, norm = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double term = double(x[size_t(r * k + i)]) * rounded(w.values[size_t(j * k + i)], format);
        sum += term;
        norm += std::fabs(term);
      }
      if (!bias.empty()) sum += bias[size_t(j)], norm += std::fabs(bias[size_t(j)]);
      ASSERT_LE(std::fabs(out[size_t(r * n + j)] - sum), growth * norm) << "row " << r << " output " << j;
    }
  }
}

TEST_P(BackendConformance, LinearAgreesWithTheReferenceOnAwkwardShapes) {
  struct Shape {
    std::int64_t rows, n, k;
  };
  const Shape shapes[] = {{1, 1, 1},     {1, 40, 72},   {2, 136, 40},  {3, 33, 136},
                          {5, 65, 72},   {7, 17, 300},  {16, 129, 40}, {17, 72, 520},
                          {33, 150, 72}, {130, 31, 40}, {270, 33, 24}, {1, 515, 640}};
  Random random(1);
  for (const Shape& s : shapes) {
    for (DType format : {DType::f32, DType::bf16, DType::f16}) {
      const StoredMatrix w = random_weights(random, s.n, s.k, format);
      const Floats x = random.normals(s.rows * s.k), bias = random.normals(s.n);
      const auto packed = pack(*backend_, w.part, format);
      SCOPED_TRACE(testing::Message()
                   << s.rows << " x " << s.k << " x " << s.n << " " << transport::name_of(format));
      expect_product(product(*backend_, x, *packed, bias), as_multiplied(*backend_, GetParam(), x, format), w,
                     format, bias);
    }
  }
}

TEST_P(BackendConformance, PackRoundsToNearestEvenFromEveryFileDtype) {
  Random random(2);
  for (DType from : {DType::f32, DType::bf16, DType::f16}) {
    for (DType to : {DType::f32, DType::bf16, DType::f16}) {
      const StoredMatrix w = random_weights(random, 37, 70, from, 75);
      const auto packed = pack(*backend_, w.part, to);
      EXPECT_EQ(packed->out_features(), 37);
      EXPECT_EQ(packed->in_features(), 70);
      for (std::int64_t i : {0, 1, 69}) {  // a unit vector reads a column of the weights exactly
        Floats x(70, 0.0f);
        x[size_t(i)] = 1;
        const Floats out = product(*backend_, x, *packed);
        for (std::int64_t o = 0; o < 37; ++o)
          ASSERT_EQ(out[size_t(o)], static_cast<float>(rounded(w.values[size_t(o * 70 + i)], to)));
      }
    }
  }
}

TEST_P(BackendConformance, StackedPartsAreStackedOutputs) {
  Random random(3);
  const StoredMatrix a = random_weights(random, 24, 40, DType::bf16),
                     b = random_weights(random, 9, 40, DType::f32);
  const WeightPart parts[] = {a.part, b.part};
  auto packed = backend_->pack(parts, DType::bf16, 1);
  ASSERT_TRUE(packed.has_value());
  const Floats x = random.normals(3 * 40), both = product(*backend_, x, **packed);
  const Floats first = product(*backend_, x, *pack(*backend_, a.part, DType::bf16));
  const Floats second = product(*backend_, x, *pack(*backend_, b.part, DType::bf16));
  for (size_t r = 0; r < 3; ++r) {
    for (size_t j = 0; j < 24; ++j) ASSERT_EQ(both[r * 33 + j], first[r * 24 + j]);
    for (size_t j = 0; j < 9; ++j) ASSERT_EQ(both[r * 33 + 24 + j], second[r * 9 + j]);
  }
}

// X1: a row alone, in every batch size, on any thread count: the same bits.
TEST_P(BackendConformance, ProductsAreBatchAndThreadInvariant) {
  Random random(4);
  const std::int64_t k = 520, n = 300;
  const Floats x = random.normals(290 * k), bias = random.normals(n);
  const auto threaded = backend_with(GetParam(), 3);
  for (DType format : formats_of(GetParam())) {
    for (int slices : {1, 8, 4, 5}) {
      const StoredMatrix w = random_weights(random, n, k, is_quantised(format) ? DType::bf16 : format);
      const auto packed = pack(*backend_, w.part, format, slices),
                 other = pack(*threaded, w.part, format, slices);
      const Floats whole = product(*backend_, x, *packed, bias);
      for (std::int64_t rows : {1, 2, 3, 5, 6, 7, 14, 15, 16, 17, 33, 130, 290}) {
        const std::int64_t first = rows == 290 ? 0 : random.below(static_cast<std::int32_t>(290 - rows));
        const Floats part(x.begin() + first * k, x.begin() + (first + rows) * k);
        const Floats expected(whole.begin() + first * n, whole.begin() + (first + rows) * n);
        ASSERT_EQ(product(*backend_, part, *packed, bias), expected) << rows << " rows";
        ASSERT_EQ(product(*threaded, part, *other, bias), expected) << rows << " rows, 3 threads";
      }
    }
  }
}

// X2: the slices of 1, 2, 4 (and 8) ranks, joined by add_partials, give the same bits.
TEST_P(BackendConformance, SlicedProductsAreRankInvariant) {
  Random random(5);
  const std::int64_t k = 8 * 72, n = 136;
  const Floats bias = random.normals(n);
  for (auto [rows, format] : {std::pair{1, DType::bf16},
                              {40, DType::bf16},
                              {3, DType::i8},
                              {20, DType::f16},
                              {20, DType::i8},
                              {2, DType::i4},
                              {20, DType::i4}}) {
    if (is_device(GetParam()) && format == DType::i8) format = DType::i4;
    const Floats x = random.normals(rows * k), before = random.normals(rows * n);
    const StoredMatrix w = random_weights(random, n, k, DType::bf16);
    Floats expected;
    for (int ranks : {1, 2, 4, 8}) {
      Floats partials;
      for (int r = 0; r < ranks; ++r) {
        const std::int64_t share = k / ranks;
        WeightPart part = w.part;
        part.data = w.bytes.data() + r * share * 2;
        part.in_features = share;
        const auto packed = pack(*backend_, part, format, 8 / ranks);
        Floats out = poisoned(rows * n);
        backend_->linear_sliced(ConstFloatMatrix(x.data() + r * share, rows, share, k), *packed,
                                FloatMatrix(out.data(), rows, n));
        partials.insert(partials.end(), out.begin(), out.end());
      }
      Floats residual = before;
      backend_->add_partials(partials, ranks, bias, FloatMatrix(residual.data(), rows, n));
      if (ranks == 1) {
        expected = residual;
        for (size_t i = 0; i < residual.size(); ++i) ASSERT_TRUE(std::isfinite(residual[i]));
      }
      ASSERT_EQ(residual, expected) << ranks << " ranks, " << rows << " rows";
    }
  }
}

// int8 weights, int8 activations per (row, group of 64): the reference quantises both in f64 as the format
// says.
Floats int8_reference(const Floats& x, const StoredMatrix& w, int slices) {
  const std::int64_t k = w.part.in_features, n = w.part.out_features, rows = std::int64_t(x.size()) / k,
                     slice = k / slices;
  auto quantised = [](const float* p, std::int64_t count, bool weights, std::vector<double>* q) {
    double largest = 0;
    for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(double(p[i])));
    float scale = float(largest) / 127.0f;
    if (weights) {  // up to the next bf16
      std::uint32_t bits;
      std::memcpy(&bits, &scale, 4);
      bits = (bits + 0xffffu) & 0xffff0000u;
      std::memcpy(&scale, &bits, 4);
    }
    const float inverse = largest > 0 ? 127.0f / float(largest) : 0.0f;
    q->clear();
    for (std::int64_t i = 0; i < count; ++i)
      q->push_back(scale == 0 ? 0 : std::nearbyint(weights ? p[i] / scale : p[i] * inverse));
    return double(scale);
  };
  Floats out(size_t(rows * n), 0.0f);
  std::vector<double> a, b;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t begin = 0; begin < k; begin += 64) {
        const std::int64_t at = begin / 64 * 64, in_slice = at % slice,
                           count = std::min<std::int64_t>(64, slice - in_slice);
        const double sx = quantised(&x[size_t(r * k + at)], count, false, &a);
        const double sw = quantised(&w.values[size_t(j * k + at)], count, true, &b);
        double dot = 0;
        for (size_t i = 0; i < a.size(); ++i) dot += a[i] * b[i];
        sum += dot * sx * sw;
      }
      out[size_t(r * n + j)] = float(sum);
    }
  }
  return out;
}

TEST_P(BackendConformance, Int8AgreesWithItsDefinitionAndComesNearTheExactProduct) {
  if (is_device(GetParam())) GTEST_SKIP() << "int8 weights are the CPU's; a device has fp8 and int4";
  Random random(20);
  struct Shape {
    std::int64_t rows, n, k;
    int slices;
  };
  for (const Shape& s : {Shape{1, 40, 64, 1}, Shape{2, 33, 72, 1}, Shape{7, 65, 512, 8},
                         Shape{17, 96, 640, 1}, Shape{130, 31, 256, 4}, Shape{300, 70, 128, 2}}) {
    const StoredMatrix w = random_weights(random, s.n, s.k, DType::bf16);
    const Floats x = random.normals(s.rows * s.k);
    const Floats out = product(*backend_, x, *pack(*backend_, w.part, DType::i8, s.slices));
    const Floats want = int8_reference(x, w, s.slices);
    double error = 0, norm = 0;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t j = 0; j < s.n; ++j) {
        double magnitude = 0, exact = 0;
        for (std::int64_t i = 0; i < s.k; ++i) {
          const double term = double(x[size_t(r * s.k + i)]) * w.values[size_t(j * s.k + i)];
          magnitude += std::fabs(term), exact += term;
        }
        ASSERT_LE(std::fabs(out[size_t(r * s.n + j)] - want[size_t(r * s.n + j)]), 64 * kEps32 * magnitude)
            << r << " " << j;
        error += std::pow(out[size_t(r * s.n + j)] - exact, 2), norm += exact * exact;
      }
    }
    EXPECT_LT(std::sqrt(error / norm),
              0.02);  // two roundings of at most 1/254 of the largest of 64, averaged
  }
}

// int4 is int8 with other weights: those of a matrix in which each weight is what its code stands for.
// What a code stands for is found by multiplying with unit vectors, whose quantisation is exact.
TEST_P(BackendConformance, Int4KeepsZerosAndComesNearTheExactProduct) {
  if (is_device(GetParam())) GTEST_SKIP() << "the CPU's int4";
  Random random(21);
  struct Shape {
    std::int64_t rows, n, k;
    int slices;
  };
  for (const Shape& s : {Shape{1, 40, 64, 1}, Shape{2, 33, 72, 1}, Shape{8, 65, 512, 8},
                         Shape{17, 96, 640, 1}, Shape{130, 31, 256, 4}, Shape{300, 300, 136, 2}}) {
    StoredMatrix w = random_weights(random, s.n, s.k, DType::bf16);
    for (std::int64_t i = 0; i < s.k; i += 3)
      std::memset(w.bytes.data() + i * 2, 0, 2), w.values[size_t(i)] = 0;
    const auto packed = pack(*backend_, w.part, DType::i4, s.slices);
    Floats units(size_t(s.k * s.k), 0.0f);
    for (std::int64_t i = 0; i < s.k; ++i) units[size_t(i * s.k + i)] = 1;
    const Floats stored = product(*backend_, units, *packed);  // (k, n)
    double lost = 0, all = 0;
    for (std::int64_t j = 0; j < s.n; ++j) {
      for (std::int64_t i = 0; i < s.k; ++i) {
        const double want = w.values[size_t(j * s.k + i)], got = stored[size_t(i * s.n + j)];
        if (want == 0) ASSERT_EQ(got, 0) << j << " " << i;
        lost += std::pow(want - got, 2), all += want * want;
      }
    }
    EXPECT_LT(std::sqrt(lost / all), 0.095);  // normal weights: 0.08
    const Floats x = random.normals(s.rows * s.k), out = product(*backend_, x, *packed);
    double error = 0, norm = 0;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t j = 0; j < s.n; ++j) {
        double exact = 0;
        for (std::int64_t i = 0; i < s.k; ++i)
          exact += double(x[size_t(r * s.k + i)]) * stored[size_t(i * s.n + j)];
        error += std::pow(out[size_t(r * s.n + j)] - exact, 2), norm += exact * exact;
      }
    }
    EXPECT_LT(std::sqrt(error / norm), 0.015) << "beyond the rounding of activations to int8";
  }
}

TEST_P(BackendConformance, QuantisedWeightsKeepNanVisible) {
  if (is_device(GetParam())) GTEST_SKIP() << "the CPU's formats";
  Random random(22);
  StoredMatrix w = random_weights(random, 40, 200, DType::bf16);
  const std::uint16_t nan = 0x7fc0, infinity = 0xff80;
  std::memcpy(w.bytes.data() + (7 * 200 + 130) * 2, &nan, 2);
  std::memcpy(w.bytes.data() + (9 * 200 + 3) * 2, &infinity, 2);
  for (DType format : {DType::i8, DType::i4}) {
    const Floats out = product(*backend_, random.normals(9 * 200), *pack(*backend_, w.part, format));
    for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isnan(out[i]), i % 40 == 7 || i % 40 == 9) << i;
  }
}

TEST_P(BackendConformance, RmsNormAgreesAndMayAlias) {
  Random random(6);
  for (std::int64_t n : {1, 16, 40, 72, 136, 2048}) {
    for (std::int64_t rows : {1, 3, 33}) {
      const Floats x = random.normals(rows * n, 3), weight = random.normals(n);
      Floats out = poisoned(rows * n), aliased = x;
      backend_->rms_norm(ConstFloatMatrix(x.data(), rows, n), weight, 1e-5f,
                         FloatMatrix(out.data(), rows, n));
      backend_->rms_norm(ConstFloatMatrix(aliased.data(), rows, n), weight, 1e-5f,
                         FloatMatrix(aliased.data(), rows, n));
      ASSERT_EQ(out, aliased);
      for (std::int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (std::int64_t i = 0; i < n; ++i) squares += std::pow(double(x[size_t(r * n + i)]), 2);
        const double scale = 1 / std::sqrt(squares / double(n) + 1e-5);
        for (std::int64_t i = 0; i < n; ++i) {
          const double want = x[size_t(r * n + i)] * scale * weight[size_t(i)];
          ASSERT_LE(std::fabs(out[size_t(r * n + i)] - want),
                    (12 + double(n) / 16) * kEps32 * std::fabs(want));
        }
      }
    }
  }
}

TEST_P(BackendConformance, SiluMulAgreesOverTheWholeRange) {
  const std::int64_t f = 1201;
  Floats gate_up(size_t(2 * f));
  for (std::int64_t i = 0; i < f; ++i)
    gate_up[size_t(i)] = float(i - 600) * 0.25f, gate_up[size_t(f + i)] = 1.5f;
  Floats out = poisoned(f);
  backend_->silu_mul(ConstFloatMatrix(gate_up.data(), 1, 2 * f), FloatMatrix(out.data(), 1, f));
  for (std::int64_t i = 0; i < f; ++i) {
    const double g = gate_up[size_t(i)], want = g / (1 + std::exp(-g)) * 1.5;
    // exp is within 2 ulp of e^x; beyond +-87 it saturates, where the product is below 1e-35
    ASSERT_LE(std::fabs(out[size_t(i)] - want), 10 * kEps32 * std::fabs(want) + 1e-34) << g;
  }
}

TEST_P(BackendConformance, NanStaysVisible) {
  Floats gate_up = {std::nanf(""), 1, 1, 1}, out = {0, 0};
  backend_->silu_mul(ConstFloatMatrix(gate_up.data(), 1, 4), FloatMatrix(out.data(), 1, 2));
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_FALSE(std::isnan(out[1]));
}

TEST_P(BackendConformance, EmbedAndGatherCopyRowsExactly) {
  Random random(7);
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const StoredMatrix table = random_weights(random, 50, 72, dtype, 80);
    const std::vector<std::int32_t> ids = {49, 0, 7, 7};
    Floats out = poisoned(4 * 72), gathered = poisoned(2 * 72);
    backend_->embed(table.part, ids, FloatMatrix(out.data(), 4, 72));
    for (size_t r = 0; r < 4; ++r)
      for (size_t i = 0; i < 72; ++i) ASSERT_EQ(out[r * 72 + i], table.values[size_t(ids[r]) * 72 + i]);
    const std::vector<std::int32_t> rows = {2, 0};
    backend_->gather_rows(ConstFloatMatrix(out.data(), 4, 72), rows, FloatMatrix(gathered.data(), 2, 72));
    EXPECT_TRUE(std::equal(gathered.begin(), gathered.begin() + 72, out.begin() + 2 * 72));
    EXPECT_TRUE(std::equal(gathered.begin() + 72, gathered.end(), out.begin()));
    Floats scattered(4 * 72, -1.0f);
    const std::vector<std::int32_t> to = {3, 1};
    backend_->scatter_rows(ConstFloatMatrix(gathered.data(), 2, 72), to,
                           FloatMatrix(scattered.data(), 4, 72));
    EXPECT_TRUE(std::equal(gathered.begin(), gathered.begin() + 72, scattered.begin() + 3 * 72));
    EXPECT_TRUE(std::equal(gathered.begin() + 72, gathered.end(), scattered.begin() + 72));
    EXPECT_EQ(std::count(scattered.begin(), scattered.end(), -1.0f), 2 * 72);
  }
}

TEST_P(BackendConformance, NoRowsIsNoWork) {
  Random random(8);
  const StoredMatrix w = random_weights(random, 40, 16, DType::f32);
  const auto packed = pack(*backend_, w.part, DType::f32, 1);
  const Floats weight(16, 1.0f);
  backend_->linear(ConstFloatMatrix(nullptr, 0, 16), *packed, {}, FloatMatrix(nullptr, 0, 40));
  backend_->linear_sliced(ConstFloatMatrix(nullptr, 0, 16), *packed, FloatMatrix(nullptr, 0, 40));
  backend_->rms_norm(ConstFloatMatrix(nullptr, 0, 16), weight, 1e-5f, FloatMatrix(nullptr, 0, 16));
  backend_->silu_mul(ConstFloatMatrix(nullptr, 0, 32), FloatMatrix(nullptr, 0, 16));
  backend_->embed(w.part, {}, FloatMatrix(nullptr, 0, 16));
  backend_->gather_rows(ConstFloatMatrix(nullptr, 0, 16), {}, FloatMatrix(nullptr, 0, 16));
  backend_->add_partials({}, 2, {}, FloatMatrix(nullptr, 0, 16));
}

// Equal arithmetic ids are equal bits; a table that has an id of its own differs in bf16 only.
TEST_P(BackendConformance, BitsAreThoseOfTheScalarTable) {
  if (is_device(GetParam())) GTEST_SKIP() << "a device has an arithmetic id of its own";
  const auto scalar = backend_with("scalar");
  Random random(9);
  for (DType format : {DType::f32, DType::bf16, DType::f16, DType::i8, DType::i4}) {
    if (splits_activations(*backend_, format)) {
      EXPECT_NE(backend_->arithmetic_id(), scalar->arithmetic_id());
      continue;
    }
    const StoredMatrix w = random_weights(random, 70, 264, is_quantised(format) ? DType::bf16 : format);
    const auto here = pack(*backend_, w.part, format, 8), there = pack(*scalar, w.part, format, 8);
    for (std::int64_t rows : {1, 9, 40}) {
      const Floats x = random.normals(rows * 264);
      ASSERT_EQ(product(*backend_, x, *here), product(*scalar, x, *there)) << rows;
    }
  }
  const Floats x = random.normals(2 * 264, 5), weight = random.normals(264);
  Floats a = poisoned(2 * 264), b = a, c = poisoned(264), d = c;
  backend_->rms_norm(ConstFloatMatrix(x.data(), 2, 264), weight, 1e-6f, FloatMatrix(a.data(), 2, 264));
  scalar->rms_norm(ConstFloatMatrix(x.data(), 2, 264), weight, 1e-6f, FloatMatrix(b.data(), 2, 264));
  EXPECT_EQ(a, b);
  backend_->silu_mul(ConstFloatMatrix(x.data(), 1, 528), FloatMatrix(c.data(), 1, 264));
  scalar->silu_mul(ConstFloatMatrix(x.data(), 1, 528), FloatMatrix(d.data(), 1, 264));
  EXPECT_EQ(c, d);
}

TEST_P(BackendConformance, RefusalsNameTheValue) {
  Random random(10);
  const StoredMatrix w = random_weights(random, 8, 16, DType::f32);
  const auto packed = backend_->pack(std::span(&w.part, 1), DType::u8, 1);
  ASSERT_FALSE(packed.has_value());
  EXPECT_NE(packed.error().message.find("u8"), std::string::npos);
  const auto pool = backend_->allocate_kv({1, 63, DType::bf16});
  ASSERT_FALSE(pool.has_value());
  EXPECT_NE(pool.error().message.find("63"), std::string::npos);
  EXPECT_FALSE(backend_->allocate(std::int64_t{1} << 60, "a test").has_value());
}

std::vector<std::string> usable_tables() {
  std::vector<std::string> names;
  for (const cpu::KernelCandidate& c : cpu::kernel_candidates()) {
    if (c.kernels && c.runs_here())
      names.emplace_back(c.name);
    else
      std::printf("SKIPPED kernels %.*s: %s%s\n", int(c.name.size()), c.name.data(),
                  c.kernels ? "compiled, but this machine lacks " : "not built for this architecture; needs ",
                  c.needs);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(Device, BackendConformance, testing::ValuesIn(tests::usable_devices()),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Cpu, BackendConformance, testing::ValuesIn(usable_tables()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace leadline::worker::conformance
