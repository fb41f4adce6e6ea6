#include "deploy/cli/timed_backend.h"

#include <chrono>
#include <utility>

namespace leadline::deploy {

using worker::ConstFloatMatrix;
using worker::FloatMatrix;

namespace {

constexpr double kFloat = sizeof(float);

double elements(ConstFloatMatrix m) {
  return static_cast<double>(m.rows) * static_cast<double>(m.cols);
}

}  // namespace

const char* name_of(Stage stage) {
  static constexpr const char* kNames[kStages] = {"embed",     "norm",   "qkv",      "rope_kv",
                                                  "attention", "o_proj", "residual", "gate_up",
                                                  "silu",      "down",   "head",     "gather"};
  return kNames[static_cast<std::size_t>(stage)];
}

std::vector<StageTotals> TimedBackend::take() {
  return std::exchange(totals_, std::vector<StageTotals>(kStages));
}

template <typename Op>
void TimedBackend::timed(Stage stage, double activation_bytes, double stored_bytes, double operations,
                         const Op& op) {
  const auto begin = std::chrono::steady_clock::now();
  op();
  StageTotals& total = totals_[static_cast<std::size_t>(stage)];
  total.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++total.calls;
  total.bytes += activation_bytes + stored_bytes;
  total.weight_bytes += stored_bytes;
  total.operations += operations;
}

void TimedBackend::product(Stage stage, ConstFloatMatrix x, const worker::PackedMatrix& w, const auto& op) {
  const double rows = static_cast<double>(x.rows), k = static_cast<double>(w.in_features()),
               n = static_cast<double>(w.out_features());
  timed(stage, rows * (k + n) * kFloat, static_cast<double>(w.bytes()), 2 * rows * k * n, op);
  before_ = stage;
}

void TimedBackend::embed(const worker::WeightPart& table, std::span<const std::int32_t> ids,
                         FloatMatrix out) {
  timed(Stage::embed, elements(out) * kFloat, elements(out) * transport::bits_of(table.dtype) / 8, 0,
        [&] { inner_.embed(table, ids, out); });
  before_ = Stage::embed;
}

void TimedBackend::rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) {
  timed(Stage::norm, 2 * elements(x) * kFloat, 0, 4 * elements(x),
        [&] { inner_.rms_norm(x, weight, eps, out); });
}

void TimedBackend::linear(ConstFloatMatrix x, const worker::PackedMatrix& w, std::span<const float> bias,
                          FloatMatrix out) {
  const Stage stage = before_ == Stage::gather   ? Stage::head
                      : before_ == Stage::o_proj ? Stage::gate_up
                                                 : Stage::qkv;
  product(stage, x, w, [&] { inner_.linear(x, w, bias, out); });
}

void TimedBackend::linear_sliced(ConstFloatMatrix x, const worker::PackedMatrix& w, FloatMatrix out) {
  product(before_ == Stage::gate_up ? Stage::down : Stage::o_proj, x, w,
          [&] { inner_.linear_sliced(x, w, out); });
}

void TimedBackend::add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                                FloatMatrix residual) {
  timed(Stage::residual, (ranks + 2) * elements(residual) * kFloat, 0, ranks * elements(residual),
        [&] { inner_.add_partials(partials, ranks, bias, residual); });
}

void TimedBackend::rope_write_kv(FloatMatrix qkv, const worker::AttentionShape& shape,
                                 const worker::RopeTable& rope, const worker::HeadNorm& norm,
                                 std::span<const worker::SequenceRows> sequences, worker::KvPool& pool) {
  const double written = static_cast<double>(qkv.rows) * 2 * shape.kv_heads * shape.head_dim *
                         static_cast<double>(transport::bits_of(pool.dtype())) / 8;
  timed(Stage::rope_kv, 2 * elements(qkv) * kFloat, written, 3 * elements(qkv),
        [&] { inner_.rope_write_kv(qkv, shape, rope, norm, sequences, pool); });
}

// Bytes: every page of every KV head once per sequence, what a walk that shares pages over queries must read.
void TimedBackend::attention(ConstFloatMatrix qkv, const worker::AttentionShape& shape,
                             std::span<const worker::SequenceRows> sequences, const worker::KvPool& pool,
                             FloatMatrix out, std::span<float> lse) {
  double stored = 0, operations = 0;
  for (const worker::SequenceRows& s : sequences) {
    const double slots = s.kv_before + s.rows;
    const double pages = (s.kv_before + s.rows + worker::kPageTokens - 1) / worker::kPageTokens;
    stored += pages * shape.kv_heads * static_cast<double>(pool.unit_bytes());
    const double seen = s.rows * (slots + s.kv_before + 1) / 2;
    operations += 4 * seen * shape.query_heads * shape.head_dim;
  }
  timed(Stage::attention, (elements(qkv) + elements(out)) * kFloat, stored, operations,
        [&] { inner_.attention(qkv, shape, sequences, pool, out, lse); });
}

void TimedBackend::silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) {
  timed(Stage::silu, (elements(gate_up) + elements(out)) * kFloat, 0, 0,
        [&] { inner_.silu_mul(gate_up, out); });
}

void TimedBackend::gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) {
  timed(Stage::gather, 2 * elements(out) * kFloat, 0, 0, [&] { inner_.gather_rows(x, rows, out); });
  before_ = Stage::gather;
}

}  // namespace leadline::deploy
