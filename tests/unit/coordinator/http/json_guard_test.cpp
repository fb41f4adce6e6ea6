#include "coordinator/http/json_guard.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leadline::coordinator {
namespace {

TEST(JsonGuardTest, DepthIsCountedOutsideStringsOnly) {
  Limits limits;
  limits.json_depth = 3;
  EXPECT_TRUE(check_json_shape("[[[1]]]", limits));
  EXPECT_FALSE(check_json_shape("[[[[1]]]]", limits));
  EXPECT_TRUE(check_json_shape(R"({"a":"[[[[[[[[{{{{\"[[["})", limits));
  EXPECT_TRUE(check_json_shape("[[[1]],[[1]],[[1]]]", limits));
  EXPECT_FALSE(check_json_shape("]", limits));
  EXPECT_TRUE(check_json_shape("\"\\", limits));  // an open string: the parser's to refuse
}

TEST(JsonGuardTest, ValuesAreCounted) {
  Limits limits;
  limits.json_values = 5;
  EXPECT_TRUE(check_json_shape("[1,2,3]", limits));
  EXPECT_FALSE(check_json_shape("[1,2,3,4,5,6]", limits));
  EXPECT_FALSE(check_json_shape("[[],[],[],[]]", limits));
}

TEST(JsonGuardTest, HundredThousandDeepIsRefusedAtOnce) {
  const Limits limits;
  const auto deep = parse_json_object(std::string(100'000, '[') + std::string(100'000, ']'), limits);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, Errc::invalid_request);
}

TEST(JsonGuardTest, OnlyWholeObjects) {
  const Limits limits;
  EXPECT_EQ(parse_json_object(R"( {"a": 1} )", limits).value()["a"], 1);
  for (const char* bad :
       {"", "[]", "1", "null", "{", "{}x", "{\"a\":1e999}", "{\"a\":\"\xff\"}", "{\"a\":NaN}", "{'a':1}"}) {
    const auto result = parse_json_object(bad, limits);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, Errc::invalid_request) << bad;
  }
}

}  // namespace
}  // namespace leadline::coordinator
