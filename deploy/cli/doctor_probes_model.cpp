// A checkpoint, as the programs will read it: their own loaders, but no byte of the weights.
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"
#include "deploy/cli/doctor_probes.h"
#include "worker/model/model_config.h"
#include "worker/model/weight_file.h"

namespace leadline::deploy {
namespace {

struct Expected {
  std::string name;
  std::vector<std::int64_t> shape;
};

std::vector<Expected> expected_tensors(const worker::ModelConfig& c) {
  const std::int64_t q = std::int64_t{c.query_heads} * c.head_dim, kv = std::int64_t{c.kv_heads} * c.head_dim;
  const std::int64_t hidden = c.hidden, ffn = c.ffn;
  std::vector<Expected> out = {{"model.embed_tokens.weight", {c.vocab, hidden}},
                               {"model.norm.weight", {hidden}}};
  if (!c.tied_head) out.push_back({"lm_head.weight", {c.vocab, hidden}});
  for (int layer = 0; layer < c.layers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    out.push_back({at + "input_layernorm.weight", {hidden}});
    out.push_back({at + "post_attention_layernorm.weight", {hidden}});
    out.push_back({at + "self_attn.q_proj.weight", {q, hidden}});
    out.push_back({at + "self_attn.k_proj.weight", {kv, hidden}});
    out.push_back({at + "self_attn.v_proj.weight", {kv, hidden}});
    out.push_back({at + "self_attn.o_proj.weight", {hidden, q}});
    out.push_back({at + "mlp.gate_proj.weight", {ffn, hidden}});
    out.push_back({at + "mlp.up_proj.weight", {ffn, hidden}});
    out.push_back({at + "mlp.down_proj.weight", {hidden, ffn}});
  }
  return out;
}

void check_weights(const std::string& directory, const worker::ModelConfig& config, ModelFacts& facts) {
  const auto file = worker::WeightFile::open(directory);
  if (!file) {
    facts.weights_error = file.error().message;
    return;
  }
  facts.weight_bytes = static_cast<std::uint64_t>((*file)->total_bytes());
  facts.tensors = static_cast<int>((*file)->tensors().size());
  for (const Expected& tensor : expected_tensors(config)) {
    if (const auto found = (*file)->require(tensor.name, tensor.shape); !found) {
      facts.weights_error = found.error().message;
      return;
    }
  }
}

}  // namespace

ModelFacts probe_model(const std::string& directory, const std::string& chat_template) {
  ModelFacts facts;
  facts.directory = directory;
  if (const auto config = worker::ModelConfig::load(directory); config) {
    facts.family = config->family + ", " + std::to_string(config->layers) + " layers, hidden " +
                   std::to_string(config->hidden) + ", context " + std::to_string(config->max_positions);
    check_weights(directory, *config, facts);
  } else {
    facts.config_error = config.error().message;
  }
  if (const auto tokenizer = coordinator::Tokenizer::load(directory); !tokenizer)
    facts.tokenizer_error = tokenizer.error().message;
  const auto loaded = coordinator::ChatTemplate::load(directory, chat_template);
  facts.has_template = loaded.has_value();
  if (!loaded && loaded.error().code != coordinator::Errc::not_found)
    facts.template_error = loaded.error().message;
  return facts;
}

}  // namespace leadline::deploy
