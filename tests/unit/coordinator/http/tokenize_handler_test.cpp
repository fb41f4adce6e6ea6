#include "coordinator/http/tokenize_handler.h"

#include <gtest/gtest.h>

#include "tests/support/fake_coordinator.h"

namespace leadline::coordinator {
namespace {

using nlohmann::json;

class TokenizeHandlerTest : public ::testing::Test {
 protected:
  json tokenize(const json& body) { return json::parse(tokenize_body(c.services, body.dump()).value()); }
  std::string param(const json& body) { return tokenize_body(c.services, body.dump()).error().param; }
  testing::FakeCoordinator c;
};

TEST_F(TokenizeHandlerTest, Prompt) {
  EXPECT_EQ(tokenize({{"prompt", "ab"}})["tokens"], json::array({256, 97, 98}));
  const json plain = tokenize({{"prompt", "ab"}, {"add_special_tokens", false}});
  EXPECT_EQ(plain["tokens"], json::array({97, 98}));
  EXPECT_EQ(plain["count"], 2);
  EXPECT_EQ(plain["max_model_len"], 512);
}

TEST_F(TokenizeHandlerTest, Messages) {
  const json messages = json::array({{{"role", "user"}, {"content", "x"}}});
  EXPECT_EQ(tokenize({{"messages", messages}})["tokens"], json::array({256, 258, 120, 257, 259}));
  EXPECT_EQ(tokenize({{"messages", messages}, {"add_generation_prompt", false}})["tokens"],
            json::array({256, 258, 120, 257}));
}

TEST_F(TokenizeHandlerTest, Errors) {
  EXPECT_EQ(param(json::object()), "prompt");
  EXPECT_EQ(param({{"prompt", "x"}, {"messages", json::array()}}), "prompt");
  EXPECT_EQ(param({{"prompt", 1}}), "prompt");
  EXPECT_EQ(param({{"messages", json::array()}}), "messages");
  EXPECT_EQ(param({{"prompt", "x"}, {"model", "other"}}), "model");
  EXPECT_EQ(param({{"prompt", "x"}, {"add_special_tokens", 1}}), "add_special_tokens");
}

TEST_F(TokenizeHandlerTest, Detokenize) {
  EXPECT_EQ(json::parse(detokenize_body(c.services, R"({"tokens":[97,257]})").value())["prompt"], "a<eot>");
  EXPECT_EQ(detokenize_body(c.services, R"({"tokens":[1000]})").error().param, "tokens");
  EXPECT_EQ(detokenize_body(c.services, "{}").error().param, "tokens");
}

}  // namespace
}  // namespace leadline::coordinator
