#include "coordinator/text/utf8.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

std::string lossy(std::string_view bytes) {
  std::string out;
  append_lossy(bytes, out);
  return out;
}

TEST(Utf8, KeepsWhatIsValid) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF";
  EXPECT_EQ(lossy(text), text);
  EXPECT_EQ(lossy(""), "");
}

// The table of Unicode 15, section 3.9 (maximal subparts).
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(lossy("a\xF1\x80\x80\xE1\x80\xC2"
                  "b\x80"
                  "c\x80\xBF"
                  "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                  "A"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(lossy("\xED\xA0\x80\xF4\x91\x92\x93\xFF"), r + r + r + r + r + r + r + r);
  EXPECT_EQ(lossy("\xE2\x82"), r);
}

TEST(Utf8, IncompleteTail) {
  EXPECT_EQ(incomplete_tail("abc"), 0u);
  EXPECT_EQ(incomplete_tail("ab\xE2\x82"), 2u);
  EXPECT_EQ(incomplete_tail("ab\xE2\x82\xAC"), 0u);
  EXPECT_EQ(incomplete_tail("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(incomplete_tail("\xF0"), 1u);
  EXPECT_EQ(incomplete_tail("\xED\xA0"), 0u);  // a surrogate: nothing can complete it
  EXPECT_EQ(incomplete_tail("\x80\x80\x80\x80"), 0u);
  EXPECT_EQ(incomplete_tail(""), 0u);
}

TEST(Utf8, EncodesEveryScalarValue) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_code_point(c, text);
    const Utf8Step step = utf8_step(text, 0);
    ASSERT_TRUE(step.valid && step.code_point == c && step.length == text.size()) << static_cast<unsigned>(c);
  }
  std::string text;
  append_code_point(0xD800, text);
  EXPECT_EQ(text, "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace leadline::coordinator
