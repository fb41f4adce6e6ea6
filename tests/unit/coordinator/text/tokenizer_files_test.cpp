// What tokenizer files may ask for and what is refused, by field and value.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "coordinator/text/sentencepiece_tokenizer.h"
#include "coordinator/text/tokenizer_json.h"

namespace leadline::coordinator {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json small() {
  return json::parse(R"({"version":"1.0","added_tokens":[{"id":4,"content":"<s>","special":true}],
    "normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Fuse"},
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"c":3},"merges":["a b"]}})");
}

std::unique_ptr<Tokenizer> make(const json& file, const std::string& config = "") {
  auto made = parse_tokenizer_json(file.dump(), config);
  EXPECT_TRUE(made) << made.error().message;
  return made ? std::move(*made) : nullptr;
}

Error refusal(const json& file, const std::string& config = "") {
  auto made = parse_tokenizer_json(file.dump(), config);
  EXPECT_FALSE(made);
  return made ? Error{} : made.error();
}

struct Refusal {
  const char* name;
  const char* pointer;  // what is replaced
  const char* value;
  Errc code;
  const char* says;  // field and value
};

class RefusedFile : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedFile, NamesFieldAndValue) {
  const Refusal& r = GetParam();
  json file = small();
  file[json::json_pointer(r.pointer)] = json::parse(r.value);
  const Error error = refusal(file);
  EXPECT_EQ(error.code, r.code) << error.message;
  EXPECT_THAT(error.message, HasSubstr(r.says));
}

INSTANTIATE_TEST_SUITE_P(
    Files, RefusedFile,
    testing::Values(
        Refusal{"ModelType", "/model/type", "\"Unigram\"", Errc::unsupported, "model.type: \"Unigram\""},
        Refusal{"Dropout", "/model/dropout", "0.1", Errc::unsupported, "model.dropout: 0.1"},
        Refusal{"Suffix", "/model/end_of_word_suffix", "\"</w>\"", Errc::unsupported,
                "end_of_word_suffix: \"</w>\""},
        Refusal{"Unknown", "/model/unk_token", "\"zz\"", Errc::malformed_file, "model.unk_token"},
        Refusal{"TokenId", "/model/vocab/a", "-1", Errc::malformed_file, "model.vocab['a']"},
        Refusal{"TokenIdTwice", "/model/vocab/a", "1", Errc::malformed_file, "id 1 appears twice"},
        Refusal{"TokenIdHuge", "/model/vocab/a", "4000000000", Errc::malformed_file, "model.vocab['a']"},
        Refusal{"Merge", "/model/merges", R"(["a c"])", Errc::malformed_file, "model.merges[0]"},
        Refusal{"MergePair", "/model/merges", R"([["a","b","c"]])", Errc::malformed_file, "model.merges[0]"},
        Refusal{"MergesType", "/model/merges", "{}", Errc::malformed_file, "model.merges: an array"},
        Refusal{"Normalizer", "/normalizer", R"({"type":"BertNormalizer"})", Errc::unsupported,
                "normalizer: \"BertNormalizer\""},
        Refusal{"NestedNormalizer", "/normalizer",
                R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"NFKD"}]})", Errc::unsupported,
                "normalizer.normalizers[1]: \"NFKD\""},
        Refusal{"PreTokenizer", "/pre_tokenizer", R"({"type":"Whitespace"})", Errc::unsupported,
                "pre_tokenizer: \"Whitespace\""},
        Refusal{"AfterByteLevel", "/pre_tokenizer",
                R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})",
                Errc::unsupported, "pre_tokenizer.pretokenizers[1]"},
        Refusal{"Pattern", "/pre_tokenizer",
                R"({"type":"Split","pattern":{"Regex":"a\\Kb"},"behavior":"Isolated"})", Errc::unsupported,
                "pre_tokenizer.pattern.Regex"},
        Refusal{"Behavior", "/pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"})",
                Errc::unsupported, "behavior: \"Odd\""},
        Refusal{"Decoder", "/decoder", R"({"type":"CTC"})", Errc::unsupported, "decoder: \"CTC\""},
        Refusal{"PostProcessor", "/post_processor", R"({"type":"BertProcessing"})", Errc::unsupported,
                "post_processor: \"BertProcessing\""},
        Refusal{"AddedId", "/added_tokens/0/id", "2", Errc::malformed_file, "added_tokens[0].id"},
        Refusal{"AddedFlag", "/added_tokens/0/lstrip", "1", Errc::malformed_file, "added_tokens[0].lstrip"},
        Refusal{"AddedEmpty", "/added_tokens/0/content", "\"\"", Errc::malformed_file,
                "added_tokens[0].content"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TokenizerJson, ReadsBothFormsOfMerges) {
  json pairs = small();
  pairs["model"]["merges"] = json::parse(R"([["a","b"]])");
  for (const json& file : {small(), pairs}) {
    auto tokenizer = make(file);
    ASSERT_TRUE(tokenizer);
    EXPECT_THAT(*tokenizer->encode("abca<s>b", false), ElementsAre(2, 3, 0, 4, 1));
  }
}

TEST(TokenizerJson, ConfigOfTheLlamaClassesReplacesThePostProcessor) {
  auto with =
      make(small(),
           R"({"tokenizer_class":"LlamaTokenizerFast","add_bos_token":true,"bos_token":{"content":"<s>"}})");
  auto other = make(
      small(), R"({"tokenizer_class":"PreTrainedTokenizerFast","add_bos_token":true,"bos_token":"<s>"})");
  EXPECT_THAT(*with->encode("c", true), ElementsAre(4, 3));
  EXPECT_THAT(*with->encode("c", false), ElementsAre(3));
  EXPECT_THAT(*other->encode("c", true), ElementsAre(3));
  const Error error =
      refusal(small(), R"({"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"bos_token":"<x>"})");
  EXPECT_THAT(error.message, HasSubstr("bos_token: '<x>'"));
}

TEST(TokenizerJson, NotJsonIsRefused) {
  for (const char* bytes : {"", "[]", "{", "\xFF\xFE", "{\"model\":{}}"}) {
    auto made = parse_tokenizer_json(bytes, "");
    ASSERT_FALSE(made) << bytes;
    EXPECT_EQ(made.error().code, Errc::malformed_file) << bytes;
  }
}

// `\s+$` over a long run of spaces that does not end a line tries every start and every length.
TEST(TokenizerJson, QuadraticPatternMeetsItsLimit) {
  json file = small();
  file["pre_tokenizer"] =
      json::parse(R"({"type":"Split","pattern":{"Regex":"\\s+$"},"behavior":"Isolated"})");
  auto tokenizer = make(file);
  EXPECT_TRUE(tokenizer->encode(std::string(1000, ' ') + "c", false));
  auto refused = tokenizer->encode(std::string(200'000, ' ') + "c", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

std::string piece_model() {
  std::ifstream in(
      std::string(LEADLINE_SOURCE_DIR) + "/tests/golden/tokenizers/sentencepiece/tokenizer.model",
      std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(SentencePieceModel, ControlPiecesInTextAndBos) {
  auto made = parse_sentencepiece_model(piece_model(), "");
  ASSERT_TRUE(made) << made.error().message;
  const auto ids = (*made)->encode("<s>a</s>", true);
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->front(), 1);
  EXPECT_EQ((*ids)[1], 1);
  EXPECT_EQ(ids->back(), 2);
  EXPECT_EQ((*made)->decode(*ids, true), "a");
  EXPECT_TRUE((*made)->is_special(0));
  EXPECT_TRUE((*made)->strips_leading_space());
}

TEST(SentencePieceModel, ConfigAddsTokensAndNoBos) {
  const std::string config =
      R"({"add_bos_token":false,"added_tokens_decoder":{"1800":{"content":"<|im_end|>","special":true}}})";
  auto made = parse_sentencepiece_model(piece_model(), config);
  ASSERT_TRUE(made) << made.error().message;
  const auto ids = (*made)->encode("a<|im_end|>", true);
  ASSERT_TRUE(ids);
  EXPECT_NE(ids->front(), 1);
  EXPECT_EQ(ids->back(), 1800);
  EXPECT_EQ((*made)->vocab_size(), 1801u);
}

TEST(SentencePieceModel, UnigramIsRefused) {
  std::string unigram =
      piece_model() + std::string("\x12\x02\x18\x01", 4);  // a later trainer_spec with model_type 1
  auto made = parse_sentencepiece_model(unigram, "");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::unsupported);
  EXPECT_THAT(made.error().message, HasSubstr("model_type 1"));
}

TEST(SentencePieceModel, RulesOfNormalisationAreRefused) {
  std::string charsmap = piece_model() + std::string("\x1A\x03\x12\x01x", 5);
  auto made = parse_sentencepiece_model(charsmap, "");
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("precompiled_charsmap"));
}

TEST(SentencePieceModel, EveryCutIsRefusedOrLoads) {
  const std::string whole = piece_model();
  int refused = 0;
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 97) {
    auto made = parse_sentencepiece_model(std::string_view(whole).substr(0, bytes), "");
    if (!made) ++refused;
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace leadline::coordinator
