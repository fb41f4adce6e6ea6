#include "coordinator/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

class ReferenceTokenizer : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::load(std::string(LEADLINE_SOURCE_DIR) + "/models/reference");
    ASSERT_TRUE(loaded) << loaded.error().message;
    tokenizer_ = std::move(*loaded);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(ReferenceTokenizer, KnowsItsSpecialTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), 4096u);
  EXPECT_EQ(tokenizer_->token_to_id("<|eot_id|>"), 4092);
  EXPECT_EQ(tokenizer_->id_to_token(4092), "<|eot_id|>");
  EXPECT_TRUE(tokenizer_->is_special(4092));
  EXPECT_FALSE(tokenizer_->is_special(100));
  EXPECT_FALSE(tokenizer_->is_special(-1));
  EXPECT_FALSE(tokenizer_->is_special(4096));
  EXPECT_EQ(tokenizer_->token_to_id("no such token"), std::nullopt);
  EXPECT_FALSE(tokenizer_->strips_leading_space());
}

TEST_F(ReferenceTokenizer, TemplateAddsBosOnlyWhenAsked) {
  auto with = tokenizer_->encode("hello", true);
  auto without = tokenizer_->encode("hello", false);
  ASSERT_TRUE(with && without);
  EXPECT_THAT(*with, testing::ElementsAre(4088, 1738, 329));
  EXPECT_THAT(*without, testing::ElementsAre(1738, 329));
}

TEST_F(ReferenceTokenizer, MarkupInTextBecomesItsIds) {
  const std::string text = "<|start_header_id|>user<|end_header_id|>\n\nWhat's up?<|eot_id|>";
  auto ids = tokenizer_->encode(text, false);
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->front(), 4090);
  EXPECT_EQ(ids->back(), 4092);
  EXPECT_EQ(tokenizer_->decode(*ids, false), text);
  EXPECT_EQ(tokenizer_->decode(*ids, true), "user\n\nWhat's up?");
}

TEST_F(ReferenceTokenizer, BrokenInputBytesBecomeReplacementCharacters) {
  auto broken = tokenizer_->encode("a\xF0\x9F\x91z\xFF", false);
  auto repaired = tokenizer_->encode("a\xEF\xBF\xBDz\xEF\xBF\xBD", false);
  ASSERT_TRUE(broken && repaired);
  EXPECT_EQ(*broken, *repaired);
}

TEST_F(ReferenceTokenizer, StreamedBytesJoinToTheDecodedText) {
  const std::string text = " é👍 naïve\n\n  code();\t你好";
  auto ids = tokenizer_->encode(text, false);
  ASSERT_TRUE(ids);
  std::string bytes;
  for (TokenId id : *ids) tokenizer_->append_bytes(id, true, bytes);
  EXPECT_EQ(bytes, text);
}

TEST_F(ReferenceTokenizer, LimitRefusesLongText) {
  ASSERT_TRUE(tokenizer_->encode("one two", true, 3));
  auto refused = tokenizer_->encode("one two three four five six seven", true, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

TEST_F(ReferenceTokenizer, AMegabyteOfOneLetterIsNotQuadratic) {
  for (const char* unit : {"a", " ", "\n", "=", "\xCC\x81"}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    auto ids = tokenizer_->encode(text, false);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(tokenizer_->decode(*ids, false), text);
  }
}

TEST_F(ReferenceTokenizer, IdsOutsideTheVocabularyAreSkipped) {
  const TokenId ids[] = {-1, 1738, 4096, 329, 1 << 30};
  EXPECT_EQ(tokenizer_->decode(ids, false), "hello");
  std::string bytes;
  for (TokenId id : ids) tokenizer_->append_bytes(id, false, bytes);
  EXPECT_EQ(bytes, "hello");
}

TEST(TokenizerLoad, DirectoryWithoutTokenizerIsNotFound) {
  auto loaded = Tokenizer::load(std::string(LEADLINE_SOURCE_DIR) + "/monitoring");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::not_found);
}

}  // namespace
}  // namespace leadline::coordinator
