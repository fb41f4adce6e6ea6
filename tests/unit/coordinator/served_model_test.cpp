#include "coordinator/served_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace leadline::coordinator {
namespace {

class ServedModelTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(directory); }
  void TearDown() override { std::filesystem::remove_all(directory); }
  void write(const char* name, const char* text) { std::ofstream(directory + "/" + name) << text; }
  const std::string directory = ::testing::TempDir() + "served-model";
};

TEST_F(ServedModelTest, ReadsTheReferenceModel) {
  const auto model = load_served_model(std::string(LEADLINE_SOURCE_DIR) + "/models/reference/", {}, 0);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->names, std::vector<std::string>{"reference"});
  EXPECT_EQ(model->max_model_len, 4096u);
  EXPECT_EQ(model->vocab_size, 4096u);
  EXPECT_EQ(model->eos_ids, (std::vector<transport::TokenId>{4089, 4092}));
  EXPECT_FLOAT_EQ(model->defaults.temperature, 0.6F);
  EXPECT_FLOAT_EQ(model->defaults.top_p, 0.9F);
  EXPECT_EQ(model->defaults.top_k, 0);
}

TEST_F(ServedModelTest, DefaultsAreNeutralWithoutGenerationConfig) {
  write("config.json", R"({"max_position_embeddings": 100, "vocab_size": 10, "eos_token_id": 2})");
  const auto model = load_served_model(directory, {"a", "b"}, 50);
  ASSERT_TRUE(model);
  EXPECT_EQ(model->max_model_len, 50u);
  EXPECT_FLOAT_EQ(model->defaults.temperature, 1.0F);
  EXPECT_EQ(model->eos_ids, std::vector<transport::TokenId>{2});
  EXPECT_TRUE(model->serves("b"));
  EXPECT_FALSE(model->serves("c"));
}

TEST_F(ServedModelTest, RefusesWhatItCannotServe) {
  EXPECT_EQ(load_served_model(directory, {}, 0).error().code, Errc::io);
  write("config.json", "[]");
  EXPECT_EQ(load_served_model(directory, {}, 0).error().code, Errc::malformed_file);
  write("config.json", R"({"vocab_size": 10})");
  EXPECT_NE(load_served_model(directory, {}, 0).error().message.find("max_position_embeddings"),
            std::string::npos);
  write("config.json", R"({"max_position_embeddings": 100, "vocab_size": 10})");
  EXPECT_EQ(load_served_model(directory, {}, 101).error().code, Errc::configuration);
}

}  // namespace
}  // namespace leadline::coordinator
