#include "worker/model/token_strings.h"

#include <gtest/gtest.h>

namespace leadline::tests {
namespace {

using namespace leadline::worker;

TEST(TokenStrings, AreReadFromBothKindsOfVocabulary) {
  const auto bpe = token_strings_of(
      R"({"model": {"vocab": {"a": 0, ".": 2, "far": 99}}, "added_tokens": [{"id": 1, "content": "."}]})", 3);
  ASSERT_TRUE(bpe.has_value());
  EXPECT_EQ(*bpe, (std::vector<std::string>{"a", "", "."}));
  const auto unigram = token_strings_of(R"({"model": {"vocab": [["x", -1.5], ["y", -2]]}})", 2);
  ASSERT_TRUE(unigram.has_value());
  EXPECT_EQ(*unigram, (std::vector<std::string>{"x", "y"}));
}

TEST(TokenStrings, WhatIsNoVocabularyIsRefused) {
  for (const char* text : {"", "[]", "{}", R"({"model": {}})", R"({"model": {"vocab": 3}})",
                           R"({"model": {"vocab": {"a": -1}}})", R"({"model": {"vocab": [["x"], 5]}})"})
    EXPECT_FALSE(token_strings_of(text, 10).has_value()) << text;
  EXPECT_FALSE(token_strings("/nowhere", 10).has_value());
}

TEST(TokenStrings, OfTheReferenceModel) {
  const auto strings = token_strings(std::string(LEADLINE_SOURCE_DIR) + "/models/reference", 4096);
  ASSERT_TRUE(strings.has_value());
  EXPECT_EQ((*strings)[32], "\xc4\xa0");
  EXPECT_EQ((*strings)[4088], "");
}

}  // namespace
}  // namespace leadline::tests
