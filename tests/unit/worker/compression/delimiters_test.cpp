#include "worker/compression/delimiters.h"

#include <gtest/gtest.h>

namespace leadline::tests {
namespace {

using namespace leadline::worker;

TEST(Delimiters, AreTokensOfDelimitersOnly) {
  for (const char* token : {".", ",", "?", "!", ";", ":", " ", "\t", "\n", ".\n\n", "    ", ", "})
    EXPECT_TRUE(is_delimiter(token)) << token;
  for (const char* token : {"", " word", "a", "word.", "-", "\xc3\xa9", "...a"})
    EXPECT_FALSE(is_delimiter(token)) << token;
  EXPECT_FALSE(is_delimiter(".\n\n", DelimiterRule::exact));
  EXPECT_TRUE(is_delimiter("\n", DelimiterRule::exact));
  EXPECT_TRUE(is_delimiter("word.", DelimiterRule::contains));
  EXPECT_FALSE(is_delimiter(" word", DelimiterRule::contains));
}

TEST(Delimiters, ByteLevelTokensAreReadAsBytes) {
  EXPECT_EQ(bytes_of_token("\xc4\xa0the"), " the");       // U+0120
  EXPECT_EQ(bytes_of_token("\xc4\x8a\xc4\x8a"), "\n\n");  // U+010A
  EXPECT_EQ(bytes_of_token(".\xc4\x8a"), ".\n");
  EXPECT_EQ(bytes_of_token("\xe2\x96\x81x"), " x");
  EXPECT_EQ(bytes_of_token("<0x0A>"), "\n");
  EXPECT_EQ(bytes_of_token("<0xZZ>"), "<0xZZ>");
  const std::vector<std::string> tokens = {".", "a", bytes_of_token("\xc4\xa0")};
  EXPECT_EQ(delimiter_flags(tokens), (std::vector<std::uint8_t>{1, 0, 1}));
}

}  // namespace
}  // namespace leadline::tests
