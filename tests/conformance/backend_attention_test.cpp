// Laws of every Backend's paged attention and KV writes: against f64 over random page tables, and with ==:
// batch, chunk and thread invariance, stale slots that reach nobody, units copied byte for byte.

#include <gtest/gtest.h>

#include "tests/conformance/attention_case.h"
#include "worker/backend/cpu/cpu_dispatch.h"
#include "worker/backend/cpu/device_memory.h"

namespace leadline::worker::conformance {
namespace {

AttentionShape shape_of(std::int32_t query_heads, std::int32_t kv_heads, std::int32_t head_dim,
                        std::int32_t window = 0) {
  return {query_heads, kv_heads, head_dim, 1 / std::sqrt(float(head_dim)), window};
}

// A table with an arithmetic of its own for such pages.
bool attends_on_tiles(const Backend& backend, DType dtype) {
  return (dtype == DType::bf16 || dtype == DType::i8) &&
         backend.arithmetic_id().find("attn3") != std::string::npos;
}

class AttentionConformance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    backend_ = backend_with(GetParam());
    ASSERT_NE(backend_, nullptr);
  }
  // A pool whose unused slots hold NaN, as pages that were used before may.
  std::unique_ptr<KvPool> poisoned_pool(const AttentionWorld& world) {
    const AttentionCase& c = world.parameters();
    auto pool = backend_->allocate_kv({world.units(), c.shape.head_dim, c.dtype});
    EXPECT_TRUE(pool.has_value());
    const std::vector<std::byte> nan(size_t((*pool)->unit_bytes()), std::byte{0xff});
    for (std::uint32_t u = 0; u < world.units(); ++u) backend_->write_unit(**pool, u, nan.data());
    return std::move(*pool);
  }
  // One sequence whole and in chunks, by one thread and by several: the same output and lse.
  void expect_same_bits(const AttentionCase& c, std::initializer_list<std::int32_t> chunks) {
    const auto threaded = backend_with(GetParam(), 3);
    AttentionWorld world(c, 500);
    auto pool = poisoned_pool(world);
    world.write_history(*backend_, *pool, 1000);
    const auto whole = world.run(*backend_, *pool, c.rows);
    for (std::int32_t chunk : chunks) {
      auto other = poisoned_pool(world);
      world.write_history(*backend_, *other, 7 * chunk);
      ASSERT_EQ(world.run(*backend_, *other, chunk), whole) << "chunks of " << chunk;
      ASSERT_EQ(world.run(*threaded, *other, chunk), whole) << "chunks of " << chunk << ", 3 threads";
    }
  }
  void expect_reference(const AttentionCase& c, std::uint32_t seed) {
    AttentionWorld world(c, seed);
    auto pool = poisoned_pool(world);
    world.write_history(*backend_, *pool, 64);
    const auto got = world.run(*backend_, *pool, c.rows);
    const AttentionShape& s = c.shape;
    for (std::int32_t r = 0; r < c.rows; ++r) {
      for (std::int32_t h = 0; h < s.query_heads; ++h) {
        const auto want = world.expected(r, h);
        // A device's prompt rows over bf16 and 8-bit pages: queries and weights in two bf16 parts, so 2^-17
        // is lost.
        const bool parts = is_device(GetParam()) && c.dtype != DType::f32 && c.dtype != DType::f16 &&
                           (s.head_dim == 64 || s.head_dim == 128);
        const double split = parts ? std::ldexp(1.0, -17) : 0;
        const double scores = ((8 * std::sqrt(double(s.head_dim)) + 16) * kEps32 + split) * want.score_norm;
        const double tolerance = want.magnitude * (2 * scores + 64 * kEps32 + split);
        ASSERT_NEAR(got.lse[size_t(r * s.query_heads + h)], want.lse,
                    scores + 16 * kEps32 * std::fabs(want.lse));
        for (std::int32_t d = 0; d < s.head_dim; ++d)
          ASSERT_NEAR(got.out[size_t((r * s.query_heads + h) * s.head_dim + d)], want.out[size_t(d)],
                      tolerance)
              << "row " << r << " head " << h << " element " << d;
      }
    }
  }
  std::unique_ptr<Backend> backend_;
};

TEST_P(AttentionConformance, AgreesWithTheReferenceForEveryHeadSizeAndDtype) {
  std::uint32_t seed = 1;
  for (std::int32_t dim : {16, 40, 64, 80, 128}) {
    for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << dim << " " << transport::name_of(dtype));
      expect_reference({shape_of(4, 2, dim), dtype, 37, 3, dtype == DType::f32}, seed++);
      expect_reference({shape_of(3, 1, dim), dtype, 0, 1}, seed++);
      expect_reference({shape_of(5, 1, dim), dtype, 600, 2}, seed++);
    }
  }
}

TEST_P(AttentionConformance, AgreesForEveryGroupSize) {
  for (std::int32_t group : {1, 2, 3, 4, 5, 6, 7, 8, 17}) {
    SCOPED_TRACE(testing::Message() << "group " << group);
    expect_reference({shape_of(2 * group, 2, 40), DType::bf16, 21, 5}, std::uint32_t(100 + group));
  }
}

TEST_P(AttentionConformance, AgreesAcrossSplitsAndWindows) {
  for (std::int32_t window : {0, 1, 7, 16, 200, 256, 300}) {
    SCOPED_TRACE(testing::Message() << "window " << window);
    expect_reference({shape_of(4, 2, 16, window), DType::bf16, 250, 20}, std::uint32_t(200 + window));
    expect_reference({shape_of(2, 1, 16, window), DType::f16, 700, 2}, std::uint32_t(300 + window));
    expect_reference({shape_of(12, 2, 48, window), DType::i8, 700, 3}, std::uint32_t(350 + window));
  }
}

TEST_P(AttentionConformance, AgreesWithLengthsPerHeadBiasAndHoles) {
  AttentionCase lengths{shape_of(6, 3, 40), DType::bf16, 300, 4, false, true};
  lengths.head_before = {300, 3, 271};
  expect_reference(lengths, 400);
  lengths.dtype = DType::i8;
  expect_reference(lengths, 402);
  AttentionCase holes{shape_of(4, 2, 64), DType::bf16, 83, 18, false, true};
  holes.page_valid = {16, 3, 9, 16, 1, 3, 16};
  expect_reference(holes, 401);
  holes.dtype = DType::i8;
  expect_reference(holes, 403);
}

// X1: whole, chunked, row by row, on several threads: the same bits, output and lse.
TEST_P(AttentionConformance, ChunksAndThreadsChangeNoBit) {
  const AttentionCase cases[] = {{shape_of(8, 2, 64), DType::bf16, 530, 37, true},
                                 {shape_of(4, 4, 40, 50), DType::f16, 90, 21, true},
                                 {shape_of(16, 2, 64), DType::i8, 530, 37, true},
                                 {shape_of(3, 3, 40, 50), DType::i8, 270, 21, true, true},
                                 {shape_of(3, 3, 80, 50), DType::bf16, 270, 21, true, true},
                                 {shape_of(8, 1, 80), DType::f32, 255, 18, true, true}};
  for (const AttentionCase& c : cases) expect_same_bits(c, {1, 2, 5, 16, 17});
}

// The same where a few rows see many whole splits: rows alone may walk them another way than all together.
TEST_P(AttentionConformance, ChunksChangeNoBitOverManySplits) {
  if (is_device(GetParam())) GTEST_SKIP() << "a device walks every split alike";
  const AttentionCase cases[] = {{shape_of(8, 1, 64), DType::bf16, 780, 18, true},
                                 {shape_of(3, 1, 128, 600), DType::bf16, 1060, 6, true},
                                 {shape_of(5, 1, 128), DType::i8, 530, 4, true},
                                 {shape_of(2, 1, 64, 700), DType::i8, 1060, 9, true}};
  for (const AttentionCase& c : cases) expect_same_bits(c, {1, 2, 3});
}

// X1: several sequences in one step against each alone.
TEST_P(AttentionConformance, SequencesOfAStepDoNotTouchEachOther) {
  const AttentionShape shape = shape_of(8, 2, 64);
  const std::int64_t columns = 12 * 64, width = 8 * 64;
  std::vector<AttentionWorld> worlds;
  for (std::int32_t i = 0; i < 5; ++i)
    worlds.emplace_back(AttentionCase{shape, DType::bf16, i * 131, i % 2 == 0 ? 1 : 9 * i, true},
                        std::uint32_t(600 + i));
  std::uint32_t units = 0;
  Floats qkv, want;
  std::vector<SequenceRows> steps;
  std::int32_t rows = 0;
  for (AttentionWorld& w : worlds) {
    auto alone = poisoned_pool(w);
    w.write_history(*backend_, *alone, 50);
    const Floats out = w.run(*backend_, *alone, w.rows()).out;
    want.insert(want.end(), out.begin(), out.end());
  }
  std::vector<std::pair<std::uint32_t, AttentionWorld*>> bases;
  for (AttentionWorld& w : worlds) bases.emplace_back(units, &w), units += w.units();
  auto pool = backend_->allocate_kv({units, 64, DType::bf16});
  ASSERT_TRUE(pool.has_value());
  const auto threaded = backend_with(GetParam(), 2);
  for (auto& [base, w] : bases) {
    const std::int32_t before = w->parameters().before;
    if (before > 0) {
      Floats history = w->input(0, before);
      SequenceRows s = w->step(0, before);
      s.kv.base = base;
      backend_->rope_write_kv(FloatMatrix(history.data(), before, columns), shape, w->rope(), {},
                              std::span(&s, 1), **pool);
    }
    const Floats x = w->input(before, w->rows());
    qkv.insert(qkv.end(), x.begin(), x.end());
    steps.push_back(w->step(before, w->rows(), rows));
    steps.back().kv.base = base;
    rows += w->rows();
  }
  Floats out = poisoned(rows * width);
  FloatMatrix x(qkv.data(), rows, columns);
  threaded->rope_write_kv(x, shape, worlds.back().rope(), {}, steps, **pool);
  threaded->attention(x, shape, steps, **pool, FloatMatrix(out.data(), rows, width), {});
  EXPECT_EQ(out, want);
}

// A row's NaN and infinities are its own: rows before it, in the same tile and page, keep their bits.
TEST_P(AttentionConformance, LaterRowsReachNoEarlierOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
    for (const float bad : {nan, infinity}) {
      const AttentionCase c{shape_of(4, 2, 40), dtype, 250, 12};
      AttentionWorld world(c, 750);
      auto clean = poisoned_pool(world), broken = poisoned_pool(world);
      world.write_history(*backend_, *clean, 250);
      world.write_history(*backend_, *broken, 250);
      const auto want = world.run(*backend_, *clean, c.rows);
      const std::int64_t columns = 8 * 40, width = 4 * 40;
      for (std::int32_t from : {1, 5, 11}) {  // rows from here on
        Floats qkv = world.input(c.before, c.rows), out = poisoned(c.rows * width);
        for (std::int64_t i = from * columns; i < c.rows * columns; ++i) qkv[size_t(i)] = bad;
        FloatMatrix x(qkv.data(), c.rows, columns);
        const SequenceRows s = world.step(c.before, c.rows);
        backend_->rope_write_kv(x, c.shape, world.rope(), {}, std::span(&s, 1), *broken);
        backend_->attention(x, c.shape, std::span(&s, 1), *broken, FloatMatrix(out.data(), c.rows, width),
                            {});
        for (std::int64_t i = 0; i < from * width; ++i) ASSERT_EQ(out[size_t(i)], want.out[size_t(i)]);
      }
    }
  }
}

TEST_P(AttentionConformance, HeadNormsAndRotationAgree) {
  const AttentionShape shape = shape_of(4, 2, 40);
  Random random(11);
  const Floats q_weight = random.normals(40), k_weight = random.normals(40);
  AttentionCase c{shape, DType::f32, 0, 9, true};
  AttentionWorld world(c, 700);
  auto pool = poisoned_pool(world);
  Floats qkv = world.input(0, 9);
  const Floats before = qkv;
  const SequenceRows s = world.step(0, 9);
  const RopeTable rope = world.rope();
  backend_->rope_write_kv(FloatMatrix(qkv.data(), 9, 8 * 40), shape, rope,
                          {q_weight.data(), k_weight.data(), 1e-6f}, std::span(&s, 1), *pool);
  for (size_t r = 0; r < 9; ++r) {
    for (size_t h = 0; h < 4; ++h) {
      const float* x = before.data() + r * 320 + h * 40;
      double squares = 0;
      for (size_t d = 0; d < 40; ++d) squares += double(x[d]) * x[d];
      const double scale = 1 / std::sqrt(squares / 40 + 1e-6);
      for (size_t d = 0; d < 20; ++d) {
        const double a = x[d] * scale * q_weight[d], b = x[d + 20] * scale * q_weight[d + 20];
        const double cosine = rope.cos[r * 20 + d], sine = rope.sin[r * 20 + d];
        const double bound = 16 * kEps32 * (std::fabs(a) + std::fabs(b));
        ASSERT_NEAR(qkv[r * 320 + h * 40 + d], a * cosine - b * sine, bound);
        ASSERT_NEAR(qkv[r * 320 + h * 40 + d + 20], b * cosine + a * sine, bound);
      }
    }
  }
}

// Pools of whole pages may be laid out head by head: the same units, the same bits.
TEST_P(AttentionConformance, LayoutByHeadChangesNoBit) {
  const AttentionCase c{shape_of(4, 2, 40), DType::bf16, 400, 3};
  AttentionWorld world(c, 810);
  auto plain = poisoned_pool(world);
  world.write_history(*backend_, *plain, 100);
  auto pool = backend_->allocate_kv({(world.units() + 6) / 7 * 7, c.shape.head_dim, c.dtype, 7});
  ASSERT_TRUE(pool.has_value());
  const std::vector<std::byte> nan(size_t((*pool)->unit_bytes()), std::byte{0xff});
  for (std::uint32_t u = 0; u < (*pool)->units(); ++u) backend_->write_unit(**pool, u, nan.data());
  world.write_history(*backend_, **pool, 100);
  EXPECT_EQ(world.run(*backend_, **pool, 3), world.run(*backend_, *plain, 3));
  std::vector<std::byte> a(nan.size()), b(nan.size());
  for (std::uint32_t u = 0; u < world.units(); ++u) {
    backend_->read_unit(**pool, u, a.data());
    backend_->read_unit(*plain, u, b.data());
    ASSERT_EQ(a, b);
  }
}

TEST_P(AttentionConformance, UnitsMoveByteForByte) {
  const AttentionCase c{shape_of(2, 1, 40), DType::i8, 40, 1};
  AttentionWorld world(c, 800);
  auto pool = poisoned_pool(world);
  world.write_history(*backend_, *pool, 40);
  const auto want = world.run(*backend_, *pool, 1);
  auto second = poisoned_pool(world);
  std::vector<std::byte> host(size_t(pool->unit_bytes()));
  for (std::uint32_t u = 0; u < world.units(); ++u) {
    backend_->read_unit(*pool, u, host.data());
    backend_->write_unit(*second, (u + 1) % world.units(), host.data());
  }
  std::vector<std::byte> first(host.size());
  backend_->read_unit(*second, 0, first.data());
  for (std::uint32_t u = 0; u + 1 < world.units(); ++u) backend_->copy_unit(*second, u + 1, u);
  backend_->write_unit(*second, world.units() - 1, first.data());
  EXPECT_EQ(world.run(*backend_, *second, 1), want);
}

TEST_P(AttentionConformance, BitsAreThoseOfTheScalarTable) {
  if (is_device(GetParam())) GTEST_SKIP() << "a device has an arithmetic id of its own";
  const auto scalar = backend_with("scalar");
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
    if (attends_on_tiles(*backend_, dtype)) {
      EXPECT_NE(backend_->arithmetic_id(), scalar->arithmetic_id());
      continue;
    }
    const AttentionCase c{shape_of(6, 2, 40), dtype, 270, 5, true, true};
    AttentionWorld world(c, 900);
    auto here = poisoned_pool(world), there = poisoned_pool(world);
    world.write_history(*backend_, *here, 100);
    world.write_history(*scalar, *there, 100);
    ASSERT_EQ(world.run(*backend_, *here, 5), world.run(*scalar, *there, 5));
  }
}

std::vector<std::string> usable_tables() {
  std::vector<std::string> names;
  for (const cpu::KernelCandidate& c : cpu::kernel_candidates())
    if (c.kernels && c.runs_here()) names.emplace_back(c.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Device, AttentionConformance, testing::ValuesIn(tests::usable_devices()),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Cpu, AttentionConformance, testing::ValuesIn(usable_tables()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace leadline::worker::conformance
