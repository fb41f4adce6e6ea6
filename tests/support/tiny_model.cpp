#include "tests/support/tiny_model.h"

#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "monitoring/check.h"
#include "worker/model/model_config.h"

namespace leadline::tests {
namespace {

using worker::ModelConfig;
using Shape = std::vector<std::int64_t>;

std::vector<std::pair<std::string, Shape>> tensor_shapes(const ModelConfig& c) {
  const std::int64_t q = std::int64_t{c.query_heads} * c.head_dim, kv = std::int64_t{c.kv_heads} * c.head_dim;
  std::vector<std::pair<std::string, Shape>> out = {{"model.embed_tokens.weight", {c.vocab, c.hidden}}};
  const auto linear = [&](const std::string& name, std::int64_t rows, std::int64_t columns, bool bias) {
    out.push_back({name + ".weight", {rows, columns}});
    if (bias) out.push_back({name + ".bias", {rows}});
  };
  for (std::int32_t i = 0; i < c.layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    out.push_back({at + "input_layernorm.weight", {c.hidden}});
    linear(at + "self_attn.q_proj", q, c.hidden, c.qkv_bias);
    linear(at + "self_attn.k_proj", kv, c.hidden, c.qkv_bias);
    linear(at + "self_attn.v_proj", kv, c.hidden, c.qkv_bias);
    linear(at + "self_attn.o_proj", c.hidden, q, c.o_bias);
    if (c.qk_norm) out.push_back({at + "self_attn.q_norm.weight", {c.head_dim}});
    if (c.qk_norm) out.push_back({at + "self_attn.k_norm.weight", {c.head_dim}});
    out.push_back({at + "post_attention_layernorm.weight", {c.hidden}});
    linear(at + "mlp.gate_proj", c.ffn, c.hidden, c.mlp_bias);
    linear(at + "mlp.up_proj", c.ffn, c.hidden, c.mlp_bias);
    linear(at + "mlp.down_proj", c.hidden, c.ffn, c.mlp_bias);
  }
  out.push_back({"model.norm.weight", {c.hidden}});
  if (!c.tied_head) linear("lm_head", c.vocab, c.hidden, false);
  return out;
}

void append_number(std::string& data, float value, bool bf16) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  char bytes[4];
  std::memcpy(bytes, &bits, 4);
  bf16 ? data.append(bytes + 2, 2) : data.append(bytes, 4);
}

}  // namespace

TempDirectory::TempDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "leadline-test-XXXXXX").string();
  LEADLINE_CHECK(::mkdtemp(pattern.data()) != nullptr, "no temporary directory");
  path_ = pattern;
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TempDirectory::write(const std::string& name, std::string_view bytes) const {
  std::ofstream out(path_ + "/" + name, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  LEADLINE_CHECK(out.good(), "cannot write a test file");
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xff);
  out += header;
  out += data;
  return out;
}

TinyModel::TinyModel(const std::string& config_json, std::string_view dtype, std::uint32_t seed) {
  const auto config = ModelConfig::parse(config_json, "");
  LEADLINE_CHECK(config.has_value(), "a tiny model's config is refused");
  std::mt19937 random(seed);
  std::string header = "{", data;
  for (const auto& [name, shape] : tensor_shapes(*config)) {
    std::int64_t count = 1;
    std::string dims;
    for (const std::int64_t dim : shape) {
      count *= dim;
      dims += (dims.empty() ? "" : ",") + std::to_string(dim);
    }
    const std::size_t begin = data.size();
    const bool norm = name.find("norm") != std::string::npos;
    const float half = norm ? 0.4F : 2.0F / std::sqrt(static_cast<float>(shape.back()));
    for (std::int64_t i = 0; i < count; ++i) {
      const float uniform = static_cast<float>(random()) / 4294967296.0F * 2 - 1;
      append_number(data, (norm ? 1.0F : 0.0F) + half * uniform, dtype == "BF16");
    }
    header += (header.size() > 1 ? ",\"" : "\"") + name + "\":{\"dtype\":\"" + std::string(dtype) +
              "\",\"shape\":[" + dims + "],\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  directory_.write("config.json", config_json);
  directory_.write("model.safetensors", safetensors_bytes(header, data));
}

std::string tiny_config(std::string_view model_type, std::string_view architecture, std::string_view more) {
  return "{\"model_type\": \"" + std::string(model_type) + "\", \"architectures\": [\"" +
         std::string(architecture) +
         "\"], \"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": 2, "
         "\"num_attention_heads\": 4, "
         "\"num_key_value_heads\": 2, \"vocab_size\": 83, \"max_position_embeddings\": 512, "
         "\"rms_norm_eps\": 1e-6, "
         "\"rope_theta\": 10000.0" +
         std::string(more) + "}";
}

}  // namespace leadline::tests
