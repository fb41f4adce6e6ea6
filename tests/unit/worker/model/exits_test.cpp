// Passes that leave and join: the bits of a row do not depend on where its way through the layers was cut.

#include <gtest/gtest.h>

#include "tests/support/model_replica.h"
#include "tests/support/tiny_model.h"

namespace leadline::tests {
namespace {

constexpr std::int32_t kLayers = 6;

std::unique_ptr<ModelReplica> replica(int ranks) {
  static const TinyModel model(tiny_config("llama", "LlamaForCausalLM", ", \"num_hidden_layers\": 6"));
  ReplicaOptions options;
  options.model_directory = model.directory();
  options.ranks = ranks;
  auto made = ModelReplica::start(options);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message);
  return std::move(*made);
}

const std::vector<Feed> kPrompts = {{0, {5, 9, 2, 40, 7}, true}, {1, {11, 3}, false}, {2, {1}, true}};
const std::vector<Feed> kNext = {{0, {8}, true}, {1, {30}, true}, {2, {31, 32, 33}, true}};

TEST(Exits, TheLastLayerIsTheModelAndItsKvStays) {
  const auto whole = replica(1);
  const auto logits = whole->step(kPrompts), next = whole->step(kNext);
  for (const std::vector<std::int32_t>& exits :
       {std::vector<std::int32_t>{kLayers}, std::vector<std::int32_t>{1, 2, 3, 4, 5, kLayers},
        std::vector<std::int32_t>{3, kLayers}}) {
    const auto cut = replica(1);
    const auto at = cut->step_at_exits(kPrompts, exits);
    ASSERT_EQ(at.size(), exits.size());
    EXPECT_EQ(at.back(), logits);
    EXPECT_EQ(at.front() == logits, exits.size() == 1) << "an early exit gives other logits";
    EXPECT_EQ(cut->step(kNext), next);
  }
}

TEST(Exits, AnExitIsAFunctionOfItsLayersAlone) {
  const auto one = replica(1), other = replica(1);
  const auto all = one->step_at_exits(kPrompts, {1, 2, 3, 4, 5, 6});
  const auto two = other->step_at_exits(kPrompts, {2, 5});
  EXPECT_EQ(two[0], all[1]);
  EXPECT_EQ(two[1], all[4]);
}

TEST(Exits, RanksGiveTheSameBits) {
  const auto one = replica(1)->step_at_exits(kPrompts, {2, 4, 6});
  for (const int ranks : {2, 4}) EXPECT_EQ(replica(ranks)->step_at_exits(kPrompts, {2, 4, 6}), one);
}

}  // namespace
}  // namespace leadline::tests
