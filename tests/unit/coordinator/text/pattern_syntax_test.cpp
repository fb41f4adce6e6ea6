#include "coordinator/text/pattern_syntax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/text/split_pattern.h"

namespace leadline::coordinator {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  auto compiled = SplitPattern::compile(pattern);
  EXPECT_TRUE(compiled) << compiled.error().message;
  std::vector<std::string> out;
  Matcher matcher;
  for (std::size_t at = 0; compiled && at <= text.size();) {
    auto found = compiled->find(text, at, matcher);
    if (!found || !found->has_value()) break;
    out.emplace_back(text.substr((*found)->begin, (*found)->end - (*found)->begin));
    at = (*found)->end;
  }
  return out;
}

TEST(PatternSyntax, MeansWhatOnigurumaMeans) {
  EXPECT_THAT(matches(R"(\s)", "a\u180e b\u0085"),
              testing::ElementsAre(" ", "\u0085"));  // PCRE2's \s has U+180E
  EXPECT_THAT(matches(R"(\w+)", "ab\u0301 1_\u24b6-"), testing::ElementsAre("ab\u0301", "1_\u24b6"));
  EXPECT_THAT(matches(R"(\S+)", "ab  c"), testing::ElementsAre("ab", "c"));
  EXPECT_THAT(matches(R"(\p{Lu})", "a\u1c89B"),
              testing::ElementsAre("\u1c89", "B"));  // a letter of Unicode 16
  EXPECT_THAT(matches(R"([^\p{L}\s]+)", "a\u1c89 12"), testing::ElementsAre("12"));
  EXPECT_THAT(matches("a$", "a\nba"), testing::ElementsAre("a", "a"));  // $ ends lines
  EXPECT_THAT(matches("a.b", "a\nb axb"), testing::ElementsAre("axb"));
  EXPECT_THAT(matches("(?i:'s)", "'S '\u017f"), testing::ElementsAre("'S", "'\u017f"));
  EXPECT_THAT(matches(R"([\u4e00-\u9fff]+)", "x\u4f60\u597d"), testing::ElementsAre("\u4f60\u597d"));
}

TEST(PatternSyntax, WhatMayDifferIsRefused) {
  for (const char* pattern :
       {R"(\h)", R"(\b)", R"(\K)", R"((a)\1)", R"((?<n>a))", "[[:alpha:]]", "[a&&b]", "[a[b]]", "a{2}+",
        "a{,2}", R"(\p{Greek_And_More})", R"([\S])", "(?m:a)", "", "a\\", "[a", R"(\p{L)", R"(\x{})"}) {
    auto translated = translate_pattern(pattern);
    EXPECT_FALSE(translated) << pattern;
    if (!translated) {
      EXPECT_EQ(translated.error().code, Errc::unsupported) << pattern;
    }
  }
}

TEST(PatternSyntax, QuotedTextMatchesItself) {
  const std::string text = "a.*[x](y){1}\\d\u00e9 #";
  auto literal = SplitPattern::literal(text);
  ASSERT_TRUE(literal);
  Matcher matcher;
  auto found = literal->find("..." + text + "...", 0, matcher);
  ASSERT_TRUE(found && found->has_value());
  EXPECT_EQ((*found)->begin, 3u);
  EXPECT_EQ((*found)->end, 3 + text.size());
}

}  // namespace
}  // namespace leadline::coordinator
