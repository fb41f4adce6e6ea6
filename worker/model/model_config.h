#pragma once
// ModelConfig: the dimensions and constants of one checkpoint, read from config.json and
// generation_config.json and checked once. Not weights. What the engine cannot compute exactly is refused
// here, with the field's name and value. Thread: immutable value.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/backend/tensor.h"
#include "worker/errc.h"

namespace leadline::worker {

enum class RopeScaling : std::uint8_t { none, linear, llama3 };

struct ModelConfig {
  std::string family;  // "llama", "mistral", "qwen2", "qwen3"
  std::int32_t hidden = 0;
  std::int32_t ffn = 0;
  std::int32_t layers = 0;
  std::int32_t query_heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t vocab = 0;  // rows of the embedding, padding included
  std::int32_t max_positions = 0;
  float rms_eps = 0;
  double rope_theta = 0;
  RopeScaling rope_scaling = RopeScaling::none;
  double rope_factor = 1, rope_low_freq_factor = 1, rope_high_freq_factor = 4;
  std::int32_t rope_original_positions = 0;
  bool tied_head = false;
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;
  std::int32_t sliding_window = 0;  // 0 = none
  std::vector<std::uint8_t>
      layer_windowed;         // (layers) 1 where the window applies; empty: every layer if sliding_window
  DType dtype = DType::bf16;  // what config.json says that the weights are
  bool dtype_stated = false;  // it does say; else "auto" weights go by the tensors
  std::vector<std::int32_t> eos_ids;  // generation_config's, else config's
  std::int32_t bos_id = -1;

  // Reads config.json and, if there, generation_config.json. not_found, io, malformed_file or
  // unsupported_model.
  static Result<ModelConfig> load(const std::string& model_directory);
  // The same from their texts; generation_json may be empty. Pure.
  static Result<ModelConfig> parse(std::string_view config_json, std::string_view generation_json);

  // In layer `layer`: how many slots a row may look back, itself included; 0 = all.
  [[nodiscard]] std::int32_t window_of(std::int32_t layer) const {
    const auto index = static_cast<std::size_t>(layer);
    return layer_windowed.empty() || layer_windowed[index] != 0 ? sliding_window : 0;
  }
};

}  // namespace leadline::worker
