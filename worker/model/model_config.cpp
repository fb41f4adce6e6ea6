#include "worker/model/model_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/model/json_fields.h"

// Field names, defaults and meanings follow the configuration classes of Hugging Face transformers: version 4
// (rope_theta, rope_scaling, torch_dtype) and version 5 (rope_parameters, dtype).

namespace leadline::worker {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxConfigBytes = 4
                                         << 20;  // real ones have a few KB; tokenizer lists never stand here

// Limits are such that no product of dimensions that the engine forms leaves int64.
constexpr std::int64_t kMaxHidden = 1 << 17, kMaxFfn = 1 << 20, kMaxLayers = 1024, kMaxHeads = 1024,
                       kMaxHeadDim = 512, kMaxVocab = 1 << 22, kMaxPositions = 1 << 24, kMaxEosIds = 64;

struct Family {
  const char* model_type;
  const char* architecture;
  bool qkv_bias_always;  // else attention_bias decides, for o too
  bool qk_norm;
  int default_head_dim;         // 0: hidden / heads
  bool window_always;           // sliding_window alone decides; else use_sliding_window and layer lists do
  std::int64_t default_window;  // when the field is absent
};
constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", false, false, 0, false, 0},
    {"mistral", "MistralForCausalLM", false, false, 0, true, 4096},
    {"qwen2", "Qwen2ForCausalLM", true, false, 0, false, 4096},
    {"qwen3", "Qwen3ForCausalLM", false, true, 128, false, 4096},
};

// Fields of other architectures (or options of these) that change the function computed. The value that
// changes nothing may stand there.
struct Neutral {
  const char* field;
  json value;
};
const std::vector<Neutral>& neutral_fields() {
  static const std::vector<Neutral> kNeutral = {
      {"quantization_config", nullptr},
      {"compression_config", nullptr},
      {"num_experts", 0},
      {"num_local_experts", 0},
      {"n_routed_experts", 0},
      {"partial_rotary_factor", 1},
      {"rotary_pct", 1},
      {"pretraining_tp", 1},
      {"is_encoder_decoder", false},
      {"add_cross_attention", false},
      {"clip_qkv", nullptr},
      {"attn_logit_softcapping", nullptr},
      {"final_logit_softcapping", nullptr},
      {"alibi", false},
      {"use_mrope", false},
      {"no_rope_layers", nullptr},
      {"logits_scaling", 1},
      {"residual_multiplier", 1},
      {"embedding_multiplier", 1},
      {"attention_multiplier", nullptr},
      {"vision_config", nullptr},
      {"text_config", nullptr},
  };
  return kNeutral;
}

const Family* read_family(FieldReader& in) {
  const std::string type = in.text("model_type");
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& f) { return type == f.model_type; });
  if (found == std::end(kFamilies)) {
    in.refuse("model_type", "not one of llama, mistral, qwen2, qwen3");
    return nullptr;
  }
  const json& architectures = in.raw("architectures");
  if (!architectures.is_null() && architectures != json::array({found->architecture}))
    in.refuse("architectures", std::string("expected [\"") + found->architecture + "\"]");
  return found;
}

void refuse_other_architectures(FieldReader& in) {
  for (const Neutral& neutral : neutral_fields())
    if (in.has(neutral.field) && in.raw(neutral.field) != neutral.value)
      in.refuse(neutral.field, "not supported");
  const std::string act = in.text("hidden_act", "silu");
  if (act != "silu" && act != "swish") in.refuse("hidden_act", "only silu is supported");
}

std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(value);
}

void read_dimensions(FieldReader& in, const Family& family, ModelConfig& c) {
  c.hidden = narrow(in.integer("hidden_size", 1, kMaxHidden));
  c.ffn = narrow(in.integer("intermediate_size", 1, kMaxFfn));
  c.layers = narrow(in.integer("num_hidden_layers", 1, kMaxLayers));
  c.query_heads = narrow(in.integer("num_attention_heads", 1, kMaxHeads));
  c.vocab = narrow(in.integer("vocab_size", 2, kMaxVocab));
  c.max_positions = narrow(in.integer("max_position_embeddings", 1, kMaxPositions));
  c.rms_eps = static_cast<float>(in.number("rms_norm_eps", 0, 1, 1e-6));
  if (in.error()) return;

  // Llama 1 and 2 leave it out where every query head has its own; the other families have defaults of their
  // own sizes.
  if (std::string_view(family.model_type) == "llama")
    c.kv_heads = narrow(in.integer("num_key_value_heads", 1, kMaxHeads, c.query_heads));
  else
    c.kv_heads = narrow(in.integer("num_key_value_heads", 1, kMaxHeads));
  if (!in.error() && c.query_heads % c.kv_heads != 0)
    in.refuse("num_key_value_heads", "does not divide num_attention_heads = " + std::to_string(c.query_heads),
              Errc::malformed_file);

  if (in.has("head_dim")) {
    c.head_dim = narrow(in.integer("head_dim", 2, kMaxHeadDim));
  } else if (family.default_head_dim != 0) {
    c.head_dim = family.default_head_dim;
  } else if (c.hidden % c.query_heads == 0) {
    c.head_dim = c.hidden / c.query_heads;
  } else {
    in.refuse("num_attention_heads", "does not divide hidden_size = " + std::to_string(c.hidden),
              Errc::malformed_file);
  }
  if (c.head_dim > kMaxHeadDim || c.head_dim % 2 != 0)
    in.refuse("head_dim", "head dimension " + std::to_string(c.head_dim) + " is odd or above " +
                              std::to_string(kMaxHeadDim));
}

void read_biases(FieldReader& in, const Family& family, ModelConfig& c) {
  const bool attention_bias = in.flag("attention_bias", false);
  if (family.qkv_bias_always) {
    c.qkv_bias = true;  // Qwen2: q, k and v have biases, o has none, whatever the config says
  } else {
    c.qkv_bias = c.o_bias = attention_bias;
  }
  c.mlp_bias = in.flag("mlp_bias", false);
  const bool may_have = std::string_view(family.model_type) == "llama";
  if (c.mlp_bias && !may_have) in.refuse("mlp_bias", "not part of this family");
  if (attention_bias && std::string_view(family.model_type) == "mistral")
    in.refuse("attention_bias", "not part of this family");
  c.qk_norm = family.qk_norm;
  c.tied_head = in.flag("tie_word_embeddings", false);
}

// layer_types, when given, must name every layer.
void read_layer_types(FieldReader& in, ModelConfig& c) {
  const json& types = in.raw("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(c.layers)) {
    in.refuse("layer_types", "not a list with one entry per layer", Errc::malformed_file);
    return;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool sliding = types[i] == "sliding_attention";
    if (!sliding && types[i] != "full_attention") {
      in.refuse("layer_types", "only full_attention and sliding_attention are supported");
      return;
    }
    c.layer_windowed[i] = sliding ? 1 : 0;
  }
}

void read_window(FieldReader& in, const Family& family, ModelConfig& c) {
  if (in.error()) return;
  // Absent and null differ here: absent means the family's default, null means no window.
  std::int64_t window = 0;
  if (!in.is_null("sliding_window"))
    window = in.integer("sliding_window", 1, kMaxPositions, family.default_window);
  if (!family.window_always) {
    if (!in.flag("use_sliding_window", false)) window = 0;
    if (std::string_view(family.model_type) == "llama" && in.has("sliding_window"))
      in.refuse("sliding_window", "not part of this family");
  }
  std::int64_t first_windowed = 0;
  if (!family.window_always) first_windowed = in.integer("max_window_layers", 0, kMaxLayers, 28);
  c.layer_windowed.assign(static_cast<std::size_t>(c.layers), 0);
  if (in.has("layer_types")) {
    read_layer_types(in, c);
    if (family.window_always &&
        std::count(c.layer_windowed.begin(), c.layer_windowed.end(), window > 0 ? 1 : 0) != c.layers)
      in.refuse("layer_types", "contradicts sliding_window");
  } else {
    for (std::int32_t i = narrow(first_windowed); i < c.layers; ++i)
      c.layer_windowed[static_cast<std::size_t>(i)] = window > 0;
  }
  const bool any = std::count(c.layer_windowed.begin(), c.layer_windowed.end(), 1) > 0;
  if (any && window == 0) in.refuse("layer_types", "sliding_attention without a sliding window");
  if (!any) c.layer_windowed.clear();
  c.sliding_window = any ? narrow(window) : 0;
}

void read_rope_type(FieldReader& rope, ModelConfig& c) {
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "linear") {
    c.rope_scaling = RopeScaling::linear;
    c.rope_factor = rope.number("factor", 0, 1e6);
  } else if (type == "llama3") {
    c.rope_scaling = RopeScaling::llama3;
    c.rope_factor = rope.number("factor", 0, 1e6);
    c.rope_low_freq_factor = rope.number("low_freq_factor", 0, 1e6);
    c.rope_high_freq_factor = rope.number("high_freq_factor", 0, 1e6);
    c.rope_original_positions = narrow(rope.integer("original_max_position_embeddings", 1, kMaxPositions));
    if (c.rope_high_freq_factor <= c.rope_low_freq_factor)
      rope.refuse("high_freq_factor", "not above low_freq_factor", Errc::malformed_file);
  } else if (type != "default") {
    rope.refuse(rope.has("rope_type") ? "rope_type" : "type",
                "only default, linear and llama3 are supported");
  }
}

void read_rope(FieldReader& in, ModelConfig& c, std::optional<Error>& error) {
  c.rope_theta = in.number("rope_theta", 0, 1e15, 10000.0);
  const bool v5 = in.has("rope_parameters");
  if (v5 && in.has("rope_scaling")) in.refuse("rope_scaling", "given together with rope_parameters");
  const char* field = v5 ? "rope_parameters" : "rope_scaling";
  if (in.error() || !in.has(field)) return;
  if (!in.raw(field).is_object()) {
    in.refuse(field, "not an object", Errc::malformed_file);
    return;
  }
  FieldReader rope(in.raw(field), std::string("config.json: ") + field);
  static constexpr std::array<std::string_view, 7> kKnown = {"type",
                                                             "rope_type",
                                                             "factor",
                                                             "low_freq_factor",
                                                             "high_freq_factor",
                                                             "original_max_position_embeddings",
                                                             "rope_theta"};
  for (const auto& [key, value] : in.raw(field).items()) {
    const bool neutral = value.is_null() || (key == "partial_rotary_factor" && value == 1);
    if (!neutral && std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end())
      rope.refuse(key.c_str(), "not supported");
  }
  read_rope_type(rope, c);
  c.rope_theta = rope.number("rope_theta", 0, 1e15, c.rope_theta);
  error = rope.error();
}

void read_dtype(FieldReader& in, ModelConfig& c) {
  const char* field = in.has("dtype") ? "dtype" : "torch_dtype";
  if (!in.has(field)) return;
  const std::string name = in.text(field);
  c.dtype_stated = true;
  if (name == "float32") {
    c.dtype = DType::f32;
  } else if (name == "bfloat16") {
    c.dtype = DType::bf16;
  } else if (name == "float16") {
    c.dtype = DType::f16;
  } else {
    in.refuse(field, "only float32, bfloat16 and float16 are supported");
  }
}

// eos_token_id: an id, a list of ids, or nothing.
void read_eos(FieldReader& in, ModelConfig& c) {
  const json& eos = in.raw("eos_token_id");
  if (eos.is_null()) return;
  const json list = eos.is_array() ? eos : json::array({eos});
  std::vector<std::int32_t> ids;
  for (const json& id : list) {
    if (list.size() > kMaxEosIds || !id.is_number_unsigned() ||
        id.get<std::uint64_t>() >= static_cast<std::uint64_t>(c.vocab)) {
      in.refuse("eos_token_id", "not token ids below vocab_size = " + std::to_string(c.vocab),
                Errc::malformed_file);
      return;
    }
    ids.push_back(id.get<std::int32_t>());
  }
  c.eos_ids = std::move(ids);
}

}  // namespace

Result<ModelConfig> ModelConfig::parse(std::string_view config_json, std::string_view generation_json) {
  auto object = parse_json_object(config_json, "config.json");
  if (!object) return tl::unexpected(object.error());
  FieldReader in(*object, "config.json");
  ModelConfig c;
  std::optional<Error> rope_error;
  if (const Family* family = read_family(in)) {
    c.family = family->model_type;
    refuse_other_architectures(in);
    read_dimensions(in, *family, c);
    read_biases(in, *family, c);
    read_window(in, *family, c);
    read_rope(in, c, rope_error);
    read_dtype(in, c);
    read_eos(in, c);
    c.bos_id = narrow(in.integer("bos_token_id", -1, c.vocab - 1, -1));
  }
  if (in.error()) return tl::unexpected(*in.error());
  if (rope_error) return tl::unexpected(*rope_error);
  if (generation_json.empty()) return c;

  auto generation = parse_json_object(generation_json, "generation_config.json");
  if (!generation) return tl::unexpected(generation.error());
  FieldReader from(*generation, "generation_config.json");
  read_eos(from, c);
  if (from.error()) return tl::unexpected(*from.error());
  return c;
}

Result<ModelConfig> ModelConfig::load(const std::string& model_directory) {
  const auto config = read_small_file(model_directory + "/config.json", kMaxConfigBytes);
  if (!config) return tl::unexpected(config.error());
  const auto generation = read_small_file(model_directory + "/generation_config.json", kMaxConfigBytes);
  if (!generation && generation.error().code != Errc::not_found) return tl::unexpected(generation.error());
  auto parsed = parse(*config, generation ? *generation : std::string());
  if (!parsed) parsed.error().message = model_directory + "/" + parsed.error().message;
  return parsed;
}

}  // namespace leadline::worker
