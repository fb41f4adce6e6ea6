// The engine under the decorator gives the bits it gives without, and every stage is seen where it belongs.

#include "deploy/cli/timed_backend.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "deploy/cli/engine_bench_report.h"
#include "transport/collective/identity_communicator.h"
#include "worker/model/synthetic_weights.h"
#include "worker/model/transformer.h"

namespace leadline::deploy {
namespace {

constexpr std::int32_t kRows = 20;

// Logits of the last of kRows rows.
std::vector<float> forward(worker::Backend& backend, const std::string& weights) {
  const auto config = worker::named_shape("tiny", 64);
  const auto source = worker::synthetic_weights(*config, 7);
  transport::IdentityCommunicator alone;
  worker::TransformerOptions options;
  options.source = source.get();
  options.weights = weights;
  options.max_rows = kRows;
  options.max_logit_rows = 1;
  options.max_positions = 64;
  auto model = worker::Transformer::load(*config, options, backend, alone);
  EXPECT_TRUE(model.has_value());
  const std::uint32_t pages[] = {0, 1};
  const auto heads = static_cast<std::uint32_t>(config->kv_heads);
  auto pool = backend.allocate_kv(
      {2 * heads * static_cast<std::uint32_t>(config->layers), config->head_dim, worker::DType::bf16});
  worker::SequenceRows rows;
  rows.rows = kRows;
  rows.kv.table = pages;
  rows.kv.scale = heads * static_cast<std::uint32_t>(config->layers);
  rows.kv.head_step = 1;
  std::vector<std::int32_t> tokens(kRows, 3);
  const std::int32_t wanted[] = {kRows - 1};
  const auto logits = (*model)->forward({tokens, {&rows, 1}, heads, wanted}, **pool);
  EXPECT_TRUE(logits.has_value());
  return {logits->data, logits->data + logits->cols};
}

std::unique_ptr<worker::Backend> one_thread() {
  worker::BackendOptions options;
  options.threads = 1;
  return std::move(*worker::make_backend(options));
}

TEST(TimedBackend, GivesTheSameBitsAndSeesEveryStage) {
  const auto backend = one_thread();
  for (const char* weights : {"bf16", "int8"}) {
    TimedBackend timed(*backend);
    EXPECT_EQ(forward(timed, weights), forward(*backend, weights)) << weights;
    const std::vector<StageTotals> totals = timed.take();
    for (const Stage stage : {Stage::qkv, Stage::rope_kv, Stage::attention, Stage::o_proj, Stage::gate_up,
                              Stage::silu, Stage::down})
      EXPECT_EQ(totals[static_cast<std::size_t>(stage)].calls, 2) << name_of(stage);
    EXPECT_EQ(totals[static_cast<std::size_t>(Stage::head)].calls, 1);
    const double head = 2.0 * 256 * 2000, gate_up = 2.0 * 2 * kRows * 256 * 2 * 704;
    EXPECT_EQ(totals[static_cast<std::size_t>(Stage::head)].operations, head);
    EXPECT_EQ(totals[static_cast<std::size_t>(Stage::gate_up)].operations, gate_up);
    EXPECT_EQ(timed.take()[static_cast<std::size_t>(Stage::head)].calls, 0) << "take starts again";
  }
}

TEST(SyntheticWeights, AreFiniteAndFollowFromTheSeed) {
  const auto config = worker::named_shape("tiny", 64);
  const auto a = worker::synthetic_weights(*config, 7), b = worker::synthetic_weights(*config, 7);
  const auto other = worker::synthetic_weights(*config, 8);
  const auto bytes = [](const worker::WeightFile& file) {
    const auto span = file.find("lm_head.weight")->bytes;
    return std::vector<std::byte>(span.begin(), span.end());
  };
  EXPECT_EQ(bytes(*a), bytes(*b));
  EXPECT_NE(bytes(*a), bytes(*other));
  for (const float logit : forward(*one_thread(), "f32")) ASSERT_TRUE(std::isfinite(logit));
  EXPECT_FALSE(worker::named_shape("2b", 64).has_value());
}

TEST(EngineBenchReport, JsonHasWhatItPromises) {
  EngineBenchOptions asked;
  asked.prompt = 100;
  asked.batch = 2;
  EngineBenchResult result;
  result.ceilings = {20, 200, 0, 0};
  result.weight_bytes = 1e9;
  result.prefill_seconds = 0.5;
  result.decode_step_seconds = 0.1;
  result.prefill.assign(kStages, {});
  result.decode.assign(kStages, {});
  result.decode[static_cast<std::size_t>(Stage::down)] = {1, 0.05, 5e8, 5e8, 1e9};
  const auto json = nlohmann::json::parse(engine_bench_json(asked, result));
  EXPECT_EQ(json["prefill_tokens_per_s"], 400);
  EXPECT_EQ(json["decode_tokens_per_s"], 20);
  EXPECT_EQ(json["decode_bandwidth_share"], 0.5);
  EXPECT_EQ(json["read_bandwidth_gb_s"], 20);
  EXPECT_EQ(json["fma_gflops"], 200);
  EXPECT_EQ(json["asked"]["prompt"], 100);
  bool found = false;
  for (const auto& stage : json["stages"]) {
    if (stage["stage"] != "down") continue;
    found = true;
    EXPECT_EQ(stage["gb_s"], 10);
    EXPECT_EQ(stage["bandwidth_share"], 0.5);
    EXPECT_EQ(stage["gflop_s"], 20);
  }
  EXPECT_TRUE(found);
  EXPECT_NE(engine_bench_text(asked, result).find("400.0 tokens/s"), std::string::npos);
}

}  // namespace
}  // namespace leadline::deploy
