#include "worker/runtime/task_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "worker/model/token_strings.h"

namespace leadline::worker {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kSource = LEADLINE_SOURCE_DIR;
const std::string kModel = kSource + "/models/reference";
constexpr std::size_t kVocab = 4096;

TEST(TaskClassifier, AddsTheMeanWeightsOfItsParts) {
  std::vector<float> weights(TaskClassifier::kParts.size() * 3);
  weights[0 * 3 + 1] = 1;   // id 1 among the first 256
  weights[3 * 3 + 2] = -3;  // id 2 among the last 48
  const TaskClassifier tasks(weights, -0.25F, 3);
  EXPECT_EQ(tasks.classify({}), WindowTask::localisation);
  EXPECT_EQ(tasks.classify(std::vector<std::int32_t>{0}), WindowTask::localisation);
  EXPECT_EQ(tasks.classify(std::vector<std::int32_t>{1}), WindowTask::aggregation);
  EXPECT_EQ(tasks.classify(std::vector<std::int32_t>{1, 1, 2}), WindowTask::localisation);  // 2/3 - 1 - 1/4
  std::vector<std::int32_t> far = {2};
  far.resize(49, 1);  // id 2 is no longer among the last 48
  EXPECT_EQ(tasks.classify(far), WindowTask::aggregation);
  EXPECT_EQ(tasks.classify(std::vector<std::int32_t>{-1, 1 << 30, 3}), WindowTask::localisation);
}

class ReferenceTasks : public ::testing::Test {
 protected:
  void SetUp() override {
    auto strings = token_strings(kModel, kVocab);
    ASSERT_TRUE(strings);
    strings_ = *strings;
  }
  std::vector<std::string> strings_;
};

// The trainer's own logits (window_task.py --golden).
TEST_F(ReferenceTasks, DecidesAsItsTrainer) {
  const auto tasks = read_task_weights(kModel, strings_);
  ASSERT_TRUE(tasks) << tasks.error().message;
  std::ifstream file(kSource + "/tests/golden/window_task.jsonl");
  int prompts = 0, aggregations = 0;
  for (std::string line; std::getline(file, line); ++prompts) {
    const json golden = json::parse(line);
    const bool expected = golden.at("logit").get<double>() > 0;
    aggregations += expected ? 1 : 0;
    ASSERT_GT(std::abs(golden.at("logit").get<double>()), 1e-3) << "too near to the border for a test";
    EXPECT_EQ(tasks->classify(golden.at("ids").get<std::vector<std::int32_t>>()) == WindowTask::aggregation,
              expected)
        << golden.at("kind");
  }
  EXPECT_EQ(prompts, 12);
  EXPECT_GT(aggregations, 0);
  EXPECT_LT(aggregations, 12);
}

TEST_F(ReferenceTasks, OfAnotherVocabularyAreRefused) {
  strings_[7] += "x";
  const auto tasks = read_task_weights(kModel, strings_);
  ASSERT_FALSE(tasks);
  EXPECT_EQ(tasks.error().code, Errc::malformed_file);
  EXPECT_THAT(tasks.error().message, HasSubstr("window_task.safetensors: trained on another vocabulary"));
}

TEST_F(ReferenceTasks, ThatDoNotExistAreNotFound) {
  EXPECT_EQ(read_task_weights(kSource + "/docs", strings_).error().code, Errc::not_found);
}

TEST_F(ReferenceTasks, WithDamageAreRefusedByTensorAndValue) {
  const std::string corpus = kSource + "/tests/fuzz/corpus/task_weights/";
  const std::vector<std::string> tokens = {"a", "b", ""};
  const auto read = [&](const std::string& name) {
    std::ifstream file(corpus + name, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    return task_weights_of(std::as_bytes(std::span(bytes)), tokens);
  };
  EXPECT_TRUE(read("three_tokens"));
  EXPECT_THAT(read("another_vocabulary").error().message, HasSubstr("another vocabulary"));
  EXPECT_THAT(read("not_finite").error().message, HasSubstr("weight 0 is not finite"));
  EXPECT_THAT(read("too_wide").error().message, HasSubstr("weights of type F32 and shape [4, 3]"));
}

}  // namespace
}  // namespace leadline::worker
