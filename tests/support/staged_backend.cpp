#include "tests/support/staged_backend.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;

// A host matrix's or vector's copy on the device, dense.
class Sent {
 public:
  Sent(Backend& device, const float* host, std::int64_t rows, std::int64_t cols, std::int64_t stride)
      : device_(device), host_(const_cast<float*>(host)), rows_(rows), cols_(cols), stride_(stride) {
    auto made = device.allocate(std::max<std::int64_t>(rows * cols, 1) * 4, "staged");
    LEADLINE_CHECK(made.has_value(), "no device memory for a test's arguments");
    buffer_ = std::move(*made);
    for (std::int64_t r = 0; r < rows; ++r) device.upload(data() + r * cols, host + r * stride, cols * 4);
  }
  explicit Sent(Backend& device, ConstFloatMatrix m) : Sent(device, m.data, m.rows, m.cols, m.row_stride) {}
  Sent(Backend& device, std::span<const float> v)
      : Sent(device, v.data(), v.empty() ? 0 : 1, static_cast<std::int64_t>(v.size()), 0) {}
  void fetch() const {
    for (std::int64_t r = 0; r < rows_; ++r)
      device_.download(host_ + r * stride_, data() + r * cols_, cols_ * 4);
  }
  [[nodiscard]] float* data() const { return static_cast<float*>(buffer_->data()); }
  [[nodiscard]] FloatMatrix matrix() const { return {data(), rows_, cols_}; }
  [[nodiscard]] std::span<float> span() const { return {data(), static_cast<std::size_t>(rows_ * cols_)}; }

 private:
  Backend& device_;
  float* host_;
  std::int64_t rows_, cols_, stride_;
  std::unique_ptr<Buffer> buffer_;
};

class StagedBackend final : public Backend {
 public:
  explicit StagedBackend(std::unique_ptr<Backend> device) : device_(std::move(device)) {}

  std::string_view name() const override { return device_->name(); }
  std::string arithmetic_id() const override { return device_->arithmetic_id(); }
  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes, std::string_view what) override {
    return device_->allocate(bytes, what);
  }
  Result<std::unique_ptr<KvPool>> allocate_kv(const KvPoolShape& shape) override {
    return device_->allocate_kv(shape);
  }
  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const WeightPart> parts, DType format,
                                             int slices) override {
    return device_->pack(parts, format, slices);
  }
  void embed(const WeightPart& table, std::span<const std::int32_t> ids, FloatMatrix out) override {
    std::unique_ptr<Buffer> holder;
    const auto resident = device_->resident(table, holder);
    LEADLINE_CHECK(resident.has_value(), "no device memory for a test's table");
    const Sent to(*device_, out);
    device_->embed(*resident, ids, to.matrix());
    to.fetch();
  }
  void rms_norm(ConstFloatMatrix x, std::span<const float> weight, float eps, FloatMatrix out) override {
    const Sent from(*device_, x), w(*device_, weight), to(*device_, out);
    device_->rms_norm(from.matrix(), w.span(), eps, to.matrix());
    to.fetch();
  }
  void linear(ConstFloatMatrix x, const PackedMatrix& w, std::span<const float> bias,
              FloatMatrix out) override {
    const Sent from(*device_, x), b(*device_, bias), to(*device_, out);
    device_->linear(from.matrix(), w, bias.empty() ? std::span<float>() : b.span(), to.matrix());
    to.fetch();
  }
  void linear_sliced(ConstFloatMatrix x, const PackedMatrix& w, FloatMatrix out) override {
    const Sent from(*device_, x), to(*device_, out);
    device_->linear_sliced(from.matrix(), w, to.matrix());
    to.fetch();
  }
  void add_partials(std::span<const float> partials, int ranks, std::span<const float> bias,
                    FloatMatrix residual) override {
    const Sent from(*device_, partials), b(*device_, bias), to(*device_, residual);
    device_->add_partials(from.span(), ranks, bias.empty() ? std::span<float>() : b.span(), to.matrix());
    to.fetch();
  }
  void rope_write_kv(FloatMatrix qkv, const AttentionShape& shape, const RopeTable& rope,
                     const HeadNorm& norm, std::span<const SequenceRows> sequences, KvPool& pool) override {
    const auto dim = static_cast<std::size_t>(shape.head_dim);
    const std::size_t angles = static_cast<std::size_t>(rope.max_positions) * dim / 2;
    const Sent cos(*device_, std::span(rope.cos, angles)), sin(*device_, std::span(rope.sin, angles));
    const Sent q(*device_, std::span(norm.q, norm.q != nullptr ? dim : 0));
    const Sent k(*device_, std::span(norm.k, norm.k != nullptr ? dim : 0));
    const Sent x(*device_, qkv);
    const std::vector<SequenceRows> plain(sequences.begin(), sequences.end());
    device_->rope_write_kv(
        x.matrix(), shape, {cos.data(), sin.data(), rope.max_positions},
        {norm.q != nullptr ? q.data() : nullptr, norm.k != nullptr ? k.data() : nullptr, norm.eps}, plain,
        pool);
    x.fetch();
  }
  void attention(ConstFloatMatrix qkv, const AttentionShape& shape, std::span<const SequenceRows> sequences,
                 const KvPool& pool, FloatMatrix out, std::span<float> lse) override {
    std::vector<SequenceRows> sent(sequences.begin(), sequences.end());
    std::vector<Sent> biases;
    std::vector<std::vector<const float*>> pointers(sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      if (sent[i].kv.slot_bias == nullptr) continue;
      for (std::int32_t h = 0; h < shape.kv_heads; ++h) {
        const auto slots = static_cast<std::size_t>(
            sent[i].kv.head_lengths != nullptr ? static_cast<std::int32_t>(sent[i].kv.head_lengths[h])
                                               : sent[i].kv_before);
        biases.emplace_back(*device_, std::span(sent[i].kv.slot_bias[h], slots));
        pointers[i].push_back(biases.back().data());
      }
      sent[i].kv.slot_bias = pointers[i].data();
    }
    const Sent from(*device_, qkv), to(*device_, out), l(*device_, std::span<const float>(lse));
    device_->attention(from.matrix(), shape, sent, pool, to.matrix(),
                       lse.empty() ? std::span<float>() : l.span());
    to.fetch();
    if (!lse.empty()) l.fetch();
  }
  void silu_mul(ConstFloatMatrix gate_up, FloatMatrix out) override {
    const Sent from(*device_, gate_up), to(*device_, out);
    device_->silu_mul(from.matrix(), to.matrix());
    to.fetch();
  }
  void gather_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) override {
    const Sent from(*device_, x), to(*device_, out);
    device_->gather_rows(from.matrix(), rows, to.matrix());
    to.fetch();
  }
  void scatter_rows(ConstFloatMatrix x, std::span<const std::int32_t> rows, FloatMatrix out) override {
    const Sent from(*device_, x), to(*device_, out);
    device_->scatter_rows(from.matrix(), rows, to.matrix());
    to.fetch();
  }
  void copy_unit(KvPool& pool, std::uint32_t from, std::uint32_t to) override {
    device_->copy_unit(pool, from, to);
  }
  void read_unit(const KvPool& pool, std::uint32_t unit, std::byte* host) override {
    device_->read_unit(pool, unit, host);
  }
  void write_unit(KvPool& pool, std::uint32_t unit, const std::byte* host) override {
    device_->write_unit(pool, unit, host);
  }

 private:
  const std::unique_ptr<Backend> device_;
};

}  // namespace

std::unique_ptr<Backend> make_staged(std::unique_ptr<Backend> device) {
  return std::make_unique<StagedBackend>(std::move(device));
}

}  // namespace leadline::tests
