#include "worker/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace leadline::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::tiny_config;

std::string llama(std::string_view more = "") {
  return tiny_config("llama", "LlamaForCausalLM", more);
}
std::string mistral(std::string_view more = "") {
  return tiny_config("mistral", "MistralForCausalLM", more);
}
std::string qwen2(std::string_view more = "") {
  return tiny_config("qwen2", "Qwen2ForCausalLM", more);
}
std::string qwen3(std::string_view more = "") {
  return tiny_config("qwen3", "Qwen3ForCausalLM", more);
}

ModelConfig accepted(const std::string& config, const std::string& generation = "") {
  auto parsed = ModelConfig::parse(config, generation);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message);
  return parsed.value_or(ModelConfig{});
}

TEST(ModelConfig, ReadsTheReferenceModel) {
  const auto c = ModelConfig::load(LEADLINE_SOURCE_DIR "/models/reference");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->family, "llama");
  EXPECT_EQ(c->layers, 12);
  EXPECT_EQ(c->head_dim, 64);
  EXPECT_EQ(c->kv_heads, 2);
  EXPECT_TRUE(c->tied_head);
  EXPECT_EQ(c->dtype, DType::bf16);
  EXPECT_THAT(c->eos_ids, ElementsAre(4089, 4092));
  EXPECT_EQ(c->bos_id, 4088);
}

TEST(ModelConfig, Llama2WithoutLaterFields) {
  const ModelConfig c = accepted(
      R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
          "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 83, "max_position_embeddings": 64,
          "pretraining_tp": 1, "rope_scaling": null, "hidden_act": "silu", "torch_dtype": "float16"})");
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rope_theta, 10000.0);
  EXPECT_EQ(c.dtype, DType::f16);
  EXPECT_FALSE(c.tied_head);
}

TEST(ModelConfig, Llama3ScalingOfBothVersionsIsTheSame) {
  const std::string scaling =
      R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192)";
  const ModelConfig four = accepted(
      llama(R"(, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", )" + scaling + "}"));
  const ModelConfig five = accepted(
      llama(R"(, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", )" + scaling + "}"));
  for (const ModelConfig& c : {four, five}) {
    EXPECT_EQ(c.rope_scaling, RopeScaling::llama3);
    EXPECT_EQ(c.rope_theta, 500000.0);
    EXPECT_EQ(c.rope_factor, 8.0);
    EXPECT_EQ(c.rope_original_positions, 8192);
  }
}

TEST(ModelConfig, DtypeOfBothVersions) {
  EXPECT_EQ(accepted(llama(R"(, "torch_dtype": "bfloat16")")).dtype, DType::bf16);
  EXPECT_EQ(accepted(llama(R"(, "dtype": "float32")")).dtype, DType::f32);
  EXPECT_FALSE(accepted(llama()).dtype_stated);
}

TEST(ModelConfig, MistralWindowGivenNullOrAbsent) {
  EXPECT_EQ(accepted(mistral(R"(, "sliding_window": 7)")).sliding_window, 7);
  EXPECT_EQ(accepted(mistral(R"(, "sliding_window": null)")).sliding_window, 0);
  EXPECT_EQ(accepted(mistral()).sliding_window, 4096);  // the configuration class's default
}

TEST(ModelConfig, QwenWindowNeedsItsFlagAndLeavesTheFirstLayers) {
  EXPECT_EQ(accepted(qwen2(R"(, "sliding_window": 7, "use_sliding_window": false)")).sliding_window, 0);
  const ModelConfig c =
      accepted(qwen2(R"(, "sliding_window": 7, "use_sliding_window": true, "max_window_layers": 1)"));
  EXPECT_EQ(c.window_of(0), 0);
  EXPECT_EQ(c.window_of(1), 7);
  EXPECT_EQ(accepted(qwen2(R"(, "sliding_window": 7, "use_sliding_window": true, "max_window_layers": 2)"))
                .sliding_window,
            0);
  const ModelConfig listed = accepted(qwen3(
      R"(, "sliding_window": 9, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"])"));
  EXPECT_EQ(listed.window_of(0), 9);
  EXPECT_EQ(listed.window_of(1), 0);
}

TEST(ModelConfig, BiasesAndNormsFollowTheFamily) {
  const ModelConfig two = accepted(qwen2());
  EXPECT_TRUE(two.qkv_bias);
  EXPECT_FALSE(two.o_bias || two.qk_norm);
  const ModelConfig three = accepted(qwen3());
  EXPECT_TRUE(three.qk_norm);
  EXPECT_FALSE(three.qkv_bias);
  EXPECT_EQ(three.head_dim, 128);  // the configuration class's default, not hidden / heads
  EXPECT_EQ(accepted(qwen3(R"(, "head_dim": 32)")).head_dim, 32);
  const ModelConfig biased = accepted(llama(R"(, "attention_bias": true, "mlp_bias": true)"));
  EXPECT_TRUE(biased.qkv_bias && biased.o_bias && biased.mlp_bias);
}

TEST(ModelConfig, EosComesFromGenerationConfigFirst) {
  EXPECT_THAT(accepted(llama(R"(, "eos_token_id": 2)")).eos_ids, ElementsAre(2));
  EXPECT_THAT(accepted(llama(R"(, "eos_token_id": 2)"), R"({"eos_token_id": [3, 4]})").eos_ids,
              ElementsAre(3, 4));
  EXPECT_THAT(accepted(llama(R"(, "eos_token_id": 2)"), R"({"temperature": 1})").eos_ids, ElementsAre(2));
  EXPECT_THAT(accepted(llama()).eos_ids, IsEmpty());
}

struct Refused {
  std::string config;
  const char* field;  // what the message must hold: field and value
  Errc code = Errc::unsupported_model;
};

TEST(ModelConfig, RefusesWithFieldAndValue) {
  const Refused cases[] = {
      {tiny_config("gemma2", "Gemma2ForCausalLM"), "model_type = \"gemma2\""},
      {tiny_config("llama", "LlamaForSequenceClassification"),
       "architectures = [\"LlamaForSequenceClassification\"]"},
      {llama(R"(, "hidden_act": "gelu")"), "hidden_act = \"gelu\""},
      {llama(R"(, "quantization_config": {"bits": 4})"), "quantization_config = {\"bits\":4}"},
      {llama(R"(, "pretraining_tp": 2)"), "pretraining_tp = 2"},
      {llama(R"(, "partial_rotary_factor": 0.5)"), "partial_rotary_factor = 0.5"},
      {llama(R"(, "num_local_experts": 8)"), "num_local_experts = 8"},
      {llama(R"(, "rope_scaling": {"type": "dynamic", "factor": 2})"), "rope_scaling: type = \"dynamic\""},
      {llama(R"(, "rope_scaling": {"rope_type": "yarn", "factor": 2})"), "rope_type = \"yarn\""},
      {llama(R"(, "rope_parameters": {"rope_type": "longrope"})"),
       "rope_parameters: rope_type = \"longrope\""},
      {llama(R"(, "rope_scaling": {"rope_type": "linear", "factor": 2, "mscale": 1})"), "mscale = 1"},
      {llama(R"(, "rope_parameters": {"full_attention": {"rope_theta": 1e4}})"), "full_attention"},
      {llama(R"(, "torch_dtype": "float8")"), "torch_dtype = \"float8\""},
      {llama(R"(, "sliding_window": 8)"), "sliding_window = 8"},
      {mistral(R"(, "attention_bias": true)"), "attention_bias = true"},
      {qwen2(R"(, "mlp_bias": true)"), "mlp_bias = true"},
      {qwen2(R"(, "layer_types": ["chunked_attention", "full_attention"])"), "layer_types"},
      {qwen2(R"(, "layer_types": ["sliding_attention", "full_attention"])"), "sliding_attention without"},
      {llama(R"(, "head_dim": 15)"), "head_dim = 15"},
      {llama(R"(, "layer_types": ["full_attention"])"), "layer_types", Errc::malformed_file},
      {llama(R"(, "hidden_size": -1)"), "hidden_size = -1", Errc::malformed_file},
      {llama(R"(, "hidden_size": 18446744073709551615)"), "hidden_size = 18446744073709551615",
       Errc::malformed_file},
      {llama(R"(, "hidden_size": 64.5)"), "hidden_size = 64.5", Errc::malformed_file},
      {llama(R"(, "num_hidden_layers": "two")"), "num_hidden_layers = \"two\"", Errc::malformed_file},
      {llama(R"(, "num_key_value_heads": 3)"), "num_key_value_heads = 3", Errc::malformed_file},
      {llama(R"(, "rms_norm_eps": 0)"), "rms_norm_eps = 0", Errc::malformed_file},
      {llama(R"(, "rope_theta": -1)"), "rope_theta = -1", Errc::malformed_file},
      {llama(R"(, "eos_token_id": 83)"), "eos_token_id = 83", Errc::malformed_file},
      {llama(R"(, "eos_token_id": "x")"), "eos_token_id = \"x\"", Errc::malformed_file},
      {llama(R"(, "vocab_size": null)"), "vocab_size: missing", Errc::malformed_file},
      {llama(R"(, "tie_word_embeddings": 1)"), "tie_word_embeddings = 1", Errc::malformed_file},
      {"[1]", "not a JSON object", Errc::malformed_file},
      {"{", "not valid JSON", Errc::malformed_file},
      {std::string(100000, '['), "nested deeper", Errc::malformed_file},
  };
  for (const Refused& one : cases) {
    const auto parsed = ModelConfig::parse(one.config, "");
    ASSERT_FALSE(parsed) << one.field;
    EXPECT_THAT(parsed.error().message, HasSubstr(one.field));
    EXPECT_EQ(parsed.error().code, one.code) << parsed.error().message;
  }
}

TEST(ModelConfig, MissingDirectoryIsNotFound) {
  const auto c = ModelConfig::load("/nowhere");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, Errc::not_found);
}

}  // namespace
}  // namespace leadline::worker
