#pragma once
// TimedBackend: a Backend that passes every op on and writes down its time, bytes and operations under the
// stage of the forward pass it belongs to. Not a backend of its own: same bits. It knows stages by the order
// in which worker/model/transformer calls. Thread: as Backend. Borrows the other backend, which outlives it.

#include <cstdint>
#include <string>
#include <vector>

#include "worker/backend/backend.h"

namespace leadline::deploy {

enum class Stage : std::uint8_t {
  embed,
  norm,
  qkv,
  rope_kv,
  attention,
  o_proj,
  residual,
  gate_up,
  silu,
  down,
  head,
  gather
};
inline constexpr std::size_t kStages = static_cast<std::size_t>(Stage::gather) + 1;
const char* name_of(Stage stage);

// What a stage did since take(). Bytes: weights and KV as stored, and activations read and written.
struct StageTotals {
  std::int64_t calls = 0;
  double seconds = 0, bytes = 0, weight_bytes = 0, operations = 0;
};

class TimedBackend final : public worker::Backend {
 public:
  explicit TimedBackend(worker::Backend& inner) : inner_(inner), totals_(kStages) {}

  // The totals so far, by Stage; they start again at zero.
  std::vector<StageTotals> take();

  std::string_view name() const override { return inner_.name(); }
  std::string arithmetic_id() const override { return inner_.arithmetic_id(); }
  worker::Result<std::unique_ptr<worker::Buffer>> allocate(std::int64_t bytes,
                                                           std::string_view what) override {
    return inner_.allocate(bytes, what);
  }
  worker::Result<std::unique_ptr<worker::KvPool>> allocate_kv(const worker::KvPoolShape& shape) override {
    return inner_.allocate_kv(shape);
  }
  worker::Result<std::unique_ptr<worker::PackedMatrix>> pack(std::span<const worker::WeightPart> parts,
                                                             worker::DType format, int slices) override {
    return inner_.pack(parts, format, slices);
  }
  void begin_step(const worker::StepRows& rows) override { inner_.begin_step(rows); }
  void end_step() override { inner_.end_step(); }
  void embed(const worker::WeightPart& table, std::span<const std::int32_t> ids,
             worker::FloatMatrix out) override;
  void rms_norm(worker::ConstFloatMatrix x, std::span<const float> weight, float eps,
                worker::FloatMatrix out) override;
  void linear(worker::ConstFloatMatrix x, const worker::PackedMatrix& w, std::span<const float> bias,
              worker::FloatMatrix out) override;
  void linear_sliced(worker::ConstFloatMatrix x, const worker::PackedMatrix& w,
                     worker::FloatMatrix out) override;
  void add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                    worker::FloatMatrix residual) override;
  void rope_write_kv(worker::FloatMatrix qkv, const worker::AttentionShape& shape,
                     const worker::RopeTable& rope, const worker::HeadNorm& norm,
                     std::span<const worker::SequenceRows> sequences, worker::KvPool& pool) override;
  void attention(worker::ConstFloatMatrix qkv, const worker::AttentionShape& shape,
                 std::span<const worker::SequenceRows> sequences, const worker::KvPool& pool,
                 worker::FloatMatrix out, std::span<float> lse) override;
  void silu_mul(worker::ConstFloatMatrix gate_up, worker::FloatMatrix out) override;
  void gather_rows(worker::ConstFloatMatrix x, std::span<const std::int32_t> rows,
                   worker::FloatMatrix out) override;
  void copy_unit(worker::KvPool& pool, std::uint32_t from, std::uint32_t to) override {
    inner_.copy_unit(pool, from, to);
  }
  void read_unit(const worker::KvPool& pool, std::uint32_t unit, std::byte* host) override {
    inner_.read_unit(pool, unit, host);
  }
  void write_unit(worker::KvPool& pool, std::uint32_t unit, const std::byte* host) override {
    inner_.write_unit(pool, unit, host);
  }

 private:
  template <typename Op>
  void timed(Stage stage, double activation_bytes, double stored_bytes, double operations, const Op& op);
  void product(Stage stage, worker::ConstFloatMatrix x, const worker::PackedMatrix& w, const auto& op);

  worker::Backend& inner_;
  std::vector<StageTotals> totals_;  // by Stage
  Stage before_ = Stage::embed;      // the last op that decides which product comes next
};

}  // namespace leadline::deploy
