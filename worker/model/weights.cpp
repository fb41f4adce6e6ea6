#include "worker/model/weights.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>

namespace leadline::worker {
namespace {

float widen_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

float widen_f16(std::uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, sizeof half);
  return static_cast<float>(half);
}

void widen(const Tensor& tensor, std::int64_t first, std::span<float> out) {
  const std::byte* data = tensor.bytes.data();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t at = static_cast<std::size_t>(first) + i;
    if (*tensor.dtype == DType::f32) {
      std::memcpy(&out[i], data + at * 4, 4);
    } else {
      std::uint16_t bits;
      std::memcpy(&bits, data + at * 2, 2);
      out[i] = *tensor.dtype == DType::bf16 ? widen_bf16(bits) : widen_f16(bits);
    }
  }
}

// One tensor's rows [rows.begin, rows.end) and columns [columns.begin, columns.end) of a (all_rows,
// all_columns) matrix.
struct Cut {
  std::string name;
  std::int64_t all_rows, all_columns;
  Range rows, columns;
};

class Loader {
 public:
  Loader(const WeightFile& file, const ModelConfig& config, const ShardPlan& plan,
         const Weights::LoadOptions& options, Backend& backend)
      : file_(file),
        config_(config),
        plan_(plan),
        options_(options),
        format_(options.format),
        backend_(backend) {}

  Result<Weights> run();

 private:
  Result<WeightPart> part(const Cut& cut);
  Result<std::unique_ptr<PackedMatrix>> matrix(std::span<const Cut> cuts, int slices);
  // Stacks ranges of vectors; each Cut has one row.
  Result<std::span<const float>> vector(std::span<const Cut> cuts);
  Result<std::span<const float>> whole_vector(const std::string& name, std::int64_t size);
  Result<LayerWeights> layer(std::int32_t index);
  Result<void> attention(const std::string& prefix, LayerWeights& w);
  Result<void> feed_forward(const std::string& prefix, LayerWeights& w);
  Result<void> ends();
  [[nodiscard]] std::uint64_t share_bytes() const;

  const WeightFile& file_;
  const ModelConfig& config_;
  const ShardPlan& plan_;
  const Weights::LoadOptions& options_;
  const DType format_;
  Backend& backend_;
  Weights weights_;
  std::uint64_t done_ = 0;
};

// Assigns a Result's value or leaves the function with its error.
template <typename T>
Result<void> put(Result<T> made, T& target) {
  if (!made) return tl::unexpected(made.error());
  target = std::move(*made);
  return {};
}

Result<WeightPart> Loader::part(const Cut& cut) {
  const std::array shape{cut.all_rows, cut.all_columns};
  const auto tensor = file_.require(cut.name, shape);
  if (!tensor) return tl::unexpected(tensor.error());
  const auto element = static_cast<std::int64_t>(transport::bits_of(*(*tensor)->dtype) / 8);
  WeightPart part;
  part.data = (*tensor)->bytes.data() + (cut.rows.begin * cut.all_columns + cut.columns.begin) * element;
  part.dtype = *(*tensor)->dtype;
  part.out_features = cut.rows.count;
  part.in_features = cut.columns.count;
  part.row_stride = cut.all_columns;
  done_ += static_cast<std::uint64_t>(cut.rows.count * cut.columns.count * element);
  return part;
}

Result<std::unique_ptr<PackedMatrix>> Loader::matrix(std::span<const Cut> cuts, int slices) {
  std::vector<WeightPart> parts;
  for (const Cut& cut : cuts) {
    auto made = part(cut);
    if (!made) return tl::unexpected(made.error());
    parts.push_back(*made);
  }
  PackedShape shape{0, cuts[0].columns.count, format_, slices};
  for (const Cut& cut : cuts) shape.out_features += cut.rows.count;
  auto packed = options_.packed != nullptr ? options_.packed->find(cuts[0].name, shape, backend_)
                                           : backend_.pack(parts, format_, slices);
  if (!packed) return packed;
  weights_.bytes += (*packed)->bytes();
  weights_.matrices.push_back({cuts[0].name, packed->get()});
  return packed;
}

Result<std::span<const float>> Loader::vector(std::span<const Cut> cuts) {
  std::int64_t total = 0;
  for (const Cut& cut : cuts) total += cut.columns.count;
  auto buffer = backend_.allocate(total * std::int64_t{sizeof(float)}, cuts[0].name);
  if (!buffer) return tl::unexpected(buffer.error());
  std::vector<float> values(static_cast<std::size_t>(total));
  const std::span<float> out(values);
  std::size_t at = 0;
  for (const Cut& cut : cuts) {
    const std::array shape{cut.all_columns};
    const auto tensor = file_.require(cut.name, shape);
    if (!tensor) return tl::unexpected(tensor.error());
    const auto count = static_cast<std::size_t>(cut.columns.count);
    widen(**tensor, cut.columns.begin, out.subspan(at, count));
    at += count;
    done_ += count * transport::bits_of(*(*tensor)->dtype) / 8;
  }
  backend_.upload((*buffer)->data(), values.data(), total * std::int64_t{sizeof(float)});
  const std::span<const float> made(static_cast<const float*>((*buffer)->data()), values.size());
  weights_.bytes += (*buffer)->bytes();
  weights_.vectors.push_back(std::move(*buffer));
  return made;
}

Result<std::span<const float>> Loader::whole_vector(const std::string& name, std::int64_t size) {
  const Cut cut{name, 1, size, {0, 1}, {0, size}};
  return vector({&cut, 1});
}

Result<void> Loader::attention(const std::string& prefix, LayerWeights& w) {
  const std::int64_t d = config_.head_dim, hidden = config_.hidden;
  const std::int64_t q_rows = config_.query_heads * d, kv_rows = config_.kv_heads * d;
  const Range q{plan_.query_heads.begin * d, plan_.query_heads.count * d};
  const Range kv{plan_.kv_heads.begin * d, plan_.kv_heads.count * d};
  const Range whole{0, hidden};
  const std::string at = prefix + "self_attn.";

  const std::array qkv{Cut{at + "q_proj.weight", q_rows, hidden, q, whole},
                       Cut{at + "k_proj.weight", kv_rows, hidden, kv, whole},
                       Cut{at + "v_proj.weight", kv_rows, hidden, kv, whole}};
  if (auto r = put(matrix(qkv, 1), w.qkv); !r) return r;
  if (plan_.kv_alone)
    if (auto r = put(matrix(std::span(qkv).subspan(1), 1), w.kv); !r) return r;
  const Cut o{at + "o_proj.weight", hidden, q_rows, whole, q};
  if (auto r = put(matrix({&o, 1}, plan_.o_slices), w.o); !r) return r;
  if (config_.qkv_bias) {
    const std::array bias{Cut{at + "q_proj.bias", 1, q_rows, {0, 1}, q},
                          Cut{at + "k_proj.bias", 1, kv_rows, {0, 1}, kv},
                          Cut{at + "v_proj.bias", 1, kv_rows, {0, 1}, kv}};
    if (auto r = put(vector(bias), w.qkv_bias); !r) return r;
  }
  if (config_.o_bias)
    if (auto r = put(whole_vector(at + "o_proj.bias", hidden), w.o_bias); !r) return r;
  if (!config_.qk_norm) return {};
  if (auto r = put(whole_vector(at + "q_norm.weight", d), w.q_norm); !r) return r;
  return put(whole_vector(at + "k_norm.weight", d), w.k_norm);
}

Result<void> Loader::feed_forward(const std::string& prefix, LayerWeights& w) {
  const std::int64_t hidden = config_.hidden, ffn = config_.ffn;
  const Range whole{0, hidden};
  const std::string at = prefix + "mlp.";
  const std::array gate_up{Cut{at + "gate_proj.weight", ffn, hidden, plan_.ffn, whole},
                           Cut{at + "up_proj.weight", ffn, hidden, plan_.ffn, whole}};
  if (auto r = put(matrix(gate_up, 1), w.gate_up); !r) return r;
  const Cut down{at + "down_proj.weight", hidden, ffn, whole, plan_.ffn};
  if (auto r = put(matrix({&down, 1}, plan_.down_slices), w.down); !r) return r;
  if (!config_.mlp_bias) return {};
  const std::array bias{Cut{at + "gate_proj.bias", 1, ffn, {0, 1}, plan_.ffn},
                        Cut{at + "up_proj.bias", 1, ffn, {0, 1}, plan_.ffn}};
  if (auto r = put(vector(bias), w.gate_up_bias); !r) return r;
  return put(whole_vector(at + "down_proj.bias", hidden), w.down_bias);
}

Result<LayerWeights> Loader::layer(std::int32_t index) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  LayerWeights w;
  if (auto r = put(whole_vector(prefix + "input_layernorm.weight", config_.hidden), w.attention_norm); !r)
    return tl::unexpected(r.error());
  if (auto r = attention(prefix, w); !r) return tl::unexpected(r.error());
  if (auto r = put(whole_vector(prefix + "post_attention_layernorm.weight", config_.hidden), w.ffn_norm); !r)
    return tl::unexpected(r.error());
  if (auto r = feed_forward(prefix, w); !r) return tl::unexpected(r.error());
  return w;
}

Result<void> Loader::ends() {
  const Range whole{0, config_.hidden};
  const Cut table{"model.embed_tokens.weight", config_.vocab, config_.hidden, {0, config_.vocab}, whole};
  const std::uint64_t before = done_;
  if (auto r = put(part(table), weights_.embedding); !r) return r;
  done_ = before;  // the table is not read now, unless the device keeps a copy
  if (auto r = put(backend_.resident(weights_.embedding, weights_.embedding_copy), weights_.embedding); !r)
    return r;
  if (weights_.embedding_copy) weights_.bytes += weights_.embedding_copy->bytes();
  if (auto r = put(whole_vector("model.norm.weight", config_.hidden), weights_.final_norm); !r) return r;
  if (plan_.vocab.count == 0) return {};
  const Cut head{config_.tied_head ? table.name : "lm_head.weight", config_.vocab, config_.hidden,
                 plan_.vocab, whole};
  return put(matrix({&head, 1}, 1), weights_.head);
}

// What `done_` comes to, close enough for a progress bar: all tensors but the embedding, over the ranks.
std::uint64_t Loader::share_bytes() const {
  std::int64_t total = file_.total_bytes();
  const Tensor* table = file_.find("model.embed_tokens.weight");
  if (table != nullptr && !config_.tied_head) total -= static_cast<std::int64_t>(table->bytes.size());
  return static_cast<std::uint64_t>(total / plan_.ranks);
}

Result<Weights> Loader::run() {
  const Weights::Progress& progress = options_.progress;
  weights_.format = format_;
  const std::uint64_t total = share_bytes();
  const auto report = [&](bool last) {
    if (progress) progress(last ? total : std::min(done_, total), total);
  };
  report(false);
  if (auto r = ends(); !r) return tl::unexpected(r.error());
  for (std::int32_t i = 0; i < config_.layers; ++i) {
    auto made = layer(i);
    if (!made) return tl::unexpected(made.error());
    weights_.layers.push_back(std::move(*made));
    report(false);
  }
  report(true);
  return std::move(weights_);
}

}  // namespace

Result<Weights> Weights::load(const WeightFile& file, const ModelConfig& config, const ShardPlan& plan,
                              const LoadOptions& options, Backend& backend) {
  return Loader(file, config, plan, options, backend).run();
}

Result<DType> weight_format(const std::string& wanted, const ModelConfig& config, const WeightFile& file) {
  for (const DType known : {DType::f32, DType::bf16, DType::f16, DType::i8, DType::fp8, DType::i4})
    if (wanted == transport::name_of(known)) return known;
  if (wanted != "auto")
    return monitoring::fail(
        Errc::configuration,
        "weights = " + wanted + ": auto, f32, bf16, f16, int8 (CPUs), fp8 (GPUs), int4 are possible");
  if (config.dtype_stated) return config.dtype;
  const Tensor* table = file.find("model.embed_tokens.weight");
  return table != nullptr && table->dtype ? *table->dtype : DType::f32;
}

}  // namespace leadline::worker
