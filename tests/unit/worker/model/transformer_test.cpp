#include "worker/model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <random>

#include "tests/support/model_replica.h"
#include "tests/support/tiny_model.h"

// What must hold with == (exactness X1, X2): ranks, chunking and the company of other rows change no bit.
// That the numbers are right is tests/integration/model_families_test.py's.

namespace leadline::worker {
namespace {

using tests::Feed;
using tests::ModelReplica;
using tests::ReplicaOptions;
using tests::tiny_config;
using tests::TinyModel;
using Logits = std::vector<std::vector<float>>;

struct Case {
  const char* name;
  std::string config;
  const char* dtype;
  DType kv;
};

std::vector<Case> cases() {
  return {
      {"llama", tiny_config("llama", "LlamaForCausalLM"), "F32", DType::f32},
      {"llama_bf16",
       tiny_config("llama", "LlamaForCausalLM", R"(, "attention_bias": true, "mlp_bias": true)"), "BF16",
       DType::bf16},
      {"mistral", tiny_config("mistral", "MistralForCausalLM", R"(, "sliding_window": 5)"), "F32",
       DType::bf16},
      {"qwen2", tiny_config("qwen2", "Qwen2ForCausalLM", R"(, "tie_word_embeddings": true)"), "BF16",
       DType::f32},
      {"qwen3", tiny_config("qwen3", "Qwen3ForCausalLM", R"(, "head_dim": 32, "num_key_value_heads": 1)"),
       "F32", DType::f16},
  };
}

std::vector<std::int32_t> random_tokens(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> tokens(count);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % 83);
  return tokens;
}

class TransformerBits : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<ModelReplica> start(int ranks, const std::string& isa = "", int threads = 1) {
    ReplicaOptions options;
    options.model_directory = model_.directory();
    options.kv_dtype = GetParam().kv;
    options.ranks = ranks;
    options.isa = isa;
    options.threads = threads;
    auto replica = ModelReplica::start(options);
    EXPECT_TRUE(replica) << replica.error().message;
    return replica ? std::move(*replica) : nullptr;
  }
  TinyModel model_{GetParam().config, GetParam().dtype};
};

TEST_P(TransformerBits, OneTwoAndFourRanksGiveTheSameBits) {
  const auto tokens = random_tokens(41, 1);
  for (const char* isa : {"scalar", ""}) {
    auto one = start(1, isa);
    ASSERT_TRUE(one);
    const Logits expected = one->run(0, tokens, 16, true);
    ASSERT_EQ(expected.size(), tokens.size());
    for (const int ranks : {2, 4}) {
      auto group = start(ranks, isa);
      ASSERT_TRUE(group);
      EXPECT_EQ(group->run(0, tokens, 16, true), expected) << ranks << " ranks, isa " << isa;
      for (int rank = 0; rank < ranks; ++rank) EXPECT_EQ(group->fingerprint(rank), one->fingerprint());
      EXPECT_LT(group->weight_bytes(0), one->weight_bytes(0));
    }
  }
}

TEST_P(TransformerBits, AnyChunkingAndThreadCountGivesTheSameBits) {
  const auto tokens = random_tokens(53, 2);
  auto replica = start(1, "", 2);
  ASSERT_TRUE(replica);
  const Logits expected = replica->run(0, tokens, 53, true);
  std::size_t sequence = 1;
  for (const std::int32_t chunk : {1, 2, 5, 15, 16, 17, 31, 48}) {
    EXPECT_EQ(replica->run(sequence, tokens, chunk, true), expected) << "chunk " << chunk;
    replica->forget(sequence++);
  }
  auto alone = start(2, "", 1);
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->run(0, tokens, 7, true), expected);
}

// A mix as the scheduler makes it: one decoding, one prefilling in chunks, one starting; each must be as if
// alone.
TEST_P(TransformerBits, OtherSequencesInTheStepChangeNothing) {
  auto replica = start(2);
  ASSERT_TRUE(replica);
  const std::vector<std::vector<std::int32_t>> prompts = {random_tokens(40, 3), random_tokens(29, 4),
                                                          random_tokens(36, 5), random_tokens(17, 6)};
  std::vector<Logits> expected;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    expected.push_back(replica->run(i, prompts[i], 40, true));
    replica->forget(i);
  }
  std::mt19937 random(7);
  std::vector<std::size_t> done(prompts.size(), 0);
  std::vector<Logits> mixed(prompts.size());
  while (true) {
    std::vector<Feed> feeds;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const std::size_t left = prompts[i].size() - done[i];
      const std::size_t count = std::min<std::size_t>(left, random() % 3 == 0 ? 1 : random() % 14);
      if (count == 0) continue;
      const auto from = prompts[i].begin() + static_cast<std::ptrdiff_t>(done[i]);
      feeds.push_back({10 + i, {from, from + static_cast<std::ptrdiff_t>(count)}, true});
      done[i] += count;
    }
    if (feeds.empty() && done[0] == prompts[0].size() && done[1] == prompts[1].size() &&
        done[2] == prompts[2].size() && done[3] == prompts[3].size())
      break;
    if (feeds.empty()) continue;
    std::shuffle(feeds.begin(), feeds.end(), random);
    const Logits logits = replica->step(feeds);
    std::size_t row = 0;
    for (const Feed& feed : feeds)
      for (std::size_t i = 0; i < feed.tokens.size(); ++i) mixed[feed.sequence - 10].push_back(logits[row++]);
  }
  EXPECT_EQ(mixed, expected);
}

INSTANTIATE_TEST_SUITE_P(Families, TransformerBits, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Transformer, FingerprintNamesWhatChangesTheNumbers) {
  const auto fingerprint = [](const TinyModel& model, const char* weights, const char* isa = "scalar") {
    ReplicaOptions options;
    options.model_directory = model.directory();
    options.weights = weights;
    options.isa = isa;
    auto replica = ModelReplica::start(options);
    EXPECT_TRUE(replica) << replica.error().message;
    return replica ? (*replica)->fingerprint() : "";
  };
  const std::string config = tiny_config("llama", "LlamaForCausalLM");
  const TinyModel one(config, "F32", 1), same(config, "F32", 1), other_weights(config, "F32", 2);
  const TinyModel other_rope(tiny_config("llama", "LlamaForCausalLM", R"(, "rope_theta": 20000.0)"), "F32",
                             1);
  EXPECT_EQ(fingerprint(one, "f32").size(), 32U);
  EXPECT_EQ(fingerprint(one, "f32"), fingerprint(same, "f32"));
  EXPECT_NE(fingerprint(one, "f32"), fingerprint(other_weights, "f32"));
  EXPECT_NE(fingerprint(one, "f32"), fingerprint(other_rope, "f32"));
  EXPECT_NE(fingerprint(one, "f32"), fingerprint(one, "bf16"));
}

TEST(Transformer, RefusesWhatDoesNotFit) {
  const auto message = [](const std::string& config, const std::string& claimed, ReplicaOptions options) {
    const TinyModel model(config);
    tests::TempDirectory directory;
    directory.write("config.json", claimed);
    if (::symlink((model.directory() + "/model.safetensors").c_str(),
                  (directory.path() + "/model.safetensors").c_str()) != 0)
      return std::string("no link");
    options.model_directory = directory.path();
    const auto replica = ModelReplica::start(options);
    return replica ? std::string("loaded") : replica.error().message;
  };
  using ::testing::HasSubstr;
  const std::string llama = tiny_config("llama", "LlamaForCausalLM");
  EXPECT_EQ(message(llama, llama, {}), "loaded");
  EXPECT_THAT(
      message(llama, tiny_config("llama", "LlamaForCausalLM", R"(, "hidden_size": 128, "head_dim": 16)"), {}),
      HasSubstr("shape = [83, 64], config.json needs [83, 128]"));
  EXPECT_THAT(message(llama, tiny_config("qwen2", "Qwen2ForCausalLM"), {}),
              HasSubstr("lacks tensor model.layers.0.self_attn.q_proj.bias"));
  ReplicaOptions three;
  three.ranks = 3;
  EXPECT_THAT(message(llama, llama, three), HasSubstr("ranks = 3"));
  ReplicaOptions int3;
  int3.weights = "int3";
  EXPECT_THAT(message(llama, llama, int3), HasSubstr("weights = int3"));
  ReplicaOptions far;
  far.max_positions = 513;
  EXPECT_THAT(message(llama, llama, far), HasSubstr("max_positions = 513"));
}

TEST(Transformer, ReportsProgress) {
  const TinyModel model(tiny_config("llama", "LlamaForCausalLM"));
  ReplicaOptions options;
  options.model_directory = model.directory();
  options.ranks = 2;
  const auto replica = ModelReplica::start(options);
  ASSERT_TRUE(replica);
  EXPECT_GE((*replica)->progress_reports(), 4U);
}

}  // namespace
}  // namespace leadline::worker
