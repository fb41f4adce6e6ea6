#include "worker/model/synthetic_weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>
#include <vector>

namespace leadline::worker {
namespace {

constexpr float kLargest = 0.04F;               // of a weight: logits of a deep model stay finite
constexpr std::int64_t kShift = 4096;           // elements between the starts of neighbouring tensors
constexpr std::int64_t kStarts = 16;            // different starts
constexpr std::int64_t kLongestVector = 65536;  // elements of a norm or bias

struct NamedShape {
  std::string_view name;
  std::int32_t layers, hidden, ffn, query_heads, kv_heads, head_dim, vocab;
  bool tied_head;
  double rope_theta;
};
constexpr NamedShape kShapes[] = {
    {"tiny", 2, 256, 704, 8, 2, 32, 2000, false, 1e4},
    {"1b", 22, 2048, 5632, 32, 4, 64, 32000, false, 1e4},
    {"3b", 28, 3072, 8192, 24, 8, 128, 128256, true, 5e5},
    {"8b", 32, 4096, 14336, 32, 8, 128, 128256, false, 5e5},
};

std::uint16_t bf16_of(float value) {  // truncated
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

// splitmix64 (Steele, Lea and Flood 2014), four values from each number.
void fill_random(std::span<std::uint16_t> out, std::uint64_t seed) {
  std::uint64_t state = seed;
  for (std::size_t i = 0; i < out.size(); i += 4) {
    std::uint64_t z = state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    for (std::size_t j = i; j < std::min(i + 4, out.size()); ++j, z >>= 16)
      out[j] = bf16_of((static_cast<float>(z & 0xFFFF) / 32768.0F - 1.0F) * kLargest);
  }
}

// Memory of all tensors: random values, then ones, then zeros.
class Painter {
 public:
  Painter(std::int64_t largest, std::uint64_t seed) : random_(largest + kShift * kStarts) {
    const auto elements = static_cast<std::size_t>(random_ + 2 * kLongestVector);
    memory_ = std::make_unique<std::byte[]>(elements * 2);
    const std::span all(reinterpret_cast<std::uint16_t*>(memory_.get()), elements);
    fill_random(all.first(static_cast<std::size_t>(random_)), seed);
    std::ranges::fill(all.subspan(static_cast<std::size_t>(random_), kLongestVector), bf16_of(1.0F));
  }
  void matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const std::int64_t start = static_cast<std::int64_t>(tensors_.size()) % kStarts * kShift;
    add(name, {rows, columns}, start, rows * columns);
  }
  void ones(const std::string& name, std::int64_t size) { add(name, {size}, random_, size); }
  void zeros(const std::string& name, std::int64_t size) {
    add(name, {size}, random_ + kLongestVector, size);
  }
  std::unique_ptr<WeightFile> file() && {
    return WeightFile::from_memory(std::move(tensors_), std::move(memory_));
  }

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape, std::int64_t start, std::int64_t size) {
    tensors_.push_back({name,
                        "BF16",
                        DType::bf16,
                        std::move(shape),
                        {memory_.get() + start * 2, static_cast<std::size_t>(size) * 2}});
  }
  const std::int64_t random_;  // elements of random values
  std::unique_ptr<std::byte[]> memory_;
  std::vector<Tensor> tensors_;
};

void paint_layer(Painter& paint, const ModelConfig& c, const std::string& prefix) {
  const std::int64_t q = std::int64_t{c.query_heads} * c.head_dim, kv = std::int64_t{c.kv_heads} * c.head_dim;
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  paint.ones(prefix + "input_layernorm.weight", c.hidden);
  paint.ones(prefix + "post_attention_layernorm.weight", c.hidden);
  const std::array<std::pair<const char*, std::int64_t>, 3> heads{{{"q", q}, {"k", kv}, {"v", kv}}};
  for (const auto& [name, rows] : heads) {
    paint.matrix(attention + name + "_proj.weight", rows, c.hidden);
    if (c.qkv_bias) paint.zeros(attention + name + "_proj.bias", rows);
  }
  paint.matrix(attention + "o_proj.weight", c.hidden, q);
  if (c.o_bias) paint.zeros(attention + "o_proj.bias", c.hidden);
  if (c.qk_norm) {
    paint.ones(attention + "q_norm.weight", c.head_dim);
    paint.ones(attention + "k_norm.weight", c.head_dim);
  }
  for (const char* name : {"gate", "up"}) {
    paint.matrix(mlp + name + "_proj.weight", c.ffn, c.hidden);
    if (c.mlp_bias) paint.zeros(mlp + name + "_proj.bias", c.ffn);
  }
  paint.matrix(mlp + "down_proj.weight", c.hidden, c.ffn);
  if (c.mlp_bias) paint.zeros(mlp + "down_proj.bias", c.hidden);
}

}  // namespace

Result<ModelConfig> named_shape(std::string_view name, std::int32_t positions) {
  std::string known;
  for (const NamedShape& shape : kShapes) {
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
    if (shape.name != name) continue;
    ModelConfig c;
    c.family = "llama";
    c.layers = shape.layers;
    c.hidden = shape.hidden;
    c.ffn = shape.ffn;
    c.query_heads = shape.query_heads;
    c.kv_heads = shape.kv_heads;
    c.head_dim = shape.head_dim;
    c.vocab = shape.vocab;
    c.tied_head = shape.tied_head;
    c.rope_theta = shape.rope_theta;
    c.rms_eps = 1e-5F;
    c.max_positions = positions;
    c.dtype_stated = true;
    return c;
  }
  return monitoring::fail(Errc::configuration, "shape " + std::string(name) + ": unknown; one of " + known);
}

std::unique_ptr<WeightFile> synthetic_weights(const ModelConfig& c, std::uint64_t seed) {
  const std::int64_t hidden = c.hidden;
  Painter paint(std::max({hidden * c.vocab, hidden * c.ffn, hidden * c.query_heads * c.head_dim}), seed);
  paint.matrix("model.embed_tokens.weight", c.vocab, hidden);
  for (std::int32_t i = 0; i < c.layers; ++i)
    paint_layer(paint, c, "model.layers." + std::to_string(i) + ".");
  paint.ones("model.norm.weight", hidden);
  if (!c.tied_head) paint.matrix("lm_head.weight", c.vocab, hidden);
  return std::move(paint).file();
}

}  // namespace leadline::worker
