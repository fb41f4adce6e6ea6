// Ids and texts of the reference libraries for every supported shape (tests/golden/tokenizers,
// make_goldens.py).

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr std::uint64_t kNotComparable = std::uint64_t{1} << 31;  // the reference has no answer here
const std::filesystem::path kGoldens = std::filesystem::path(LEADLINE_SOURCE_DIR) / "tests/golden/tokenizers";

class GoldenReader {
 public:
  explicit GoldenReader(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }
  bool done() const { return at_ >= bytes_.size(); }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  }
  std::string text(std::size_t bytes) {
    at_ += bytes;
    return bytes_.substr(at_ - bytes, bytes);
  }
  std::vector<TokenId> ids(std::uint64_t count) {
    std::vector<TokenId> out;
    for (std::uint64_t i = 0; i < count; ++i) out.push_back(static_cast<TokenId>(number()));
    return out;
  }
  // A decoding: 0 stands for `source`.
  std::optional<std::string> decoding(const std::string& source) {
    const std::uint64_t length = number();
    if (length == kNotComparable) return std::nullopt;
    return length == 0 ? source : text(length - 1);
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

std::vector<std::string> golden_strings() {
  GoldenReader reader(kGoldens / "strings.bin");
  std::vector<std::string> out;
  for (std::uint64_t left = reader.number(); left > 0; --left) out.push_back(reader.text(reader.number()));
  return out;
}

class TokenizerGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::load((kGoldens / GetParam()).string());
    ASSERT_TRUE(loaded) << loaded.error().message;
    tokenizer_ = std::move(*loaded);
  }

  void check_decodings(const std::vector<TokenId>& ids, const std::string& source, GoldenReader& goldens) {
    for (const bool skip : {false, true}) {
      const auto want = goldens.decoding(source);
      if (!want) continue;
      ASSERT_EQ(tokenizer_->decode(ids, skip), *want) << "skip_special_tokens " << skip;
      ++compared_;
    }
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  int compared_ = 0;
};

TEST_P(TokenizerGolden, SameIdsAndTextsAsTheReference) {
  const std::vector<std::string> strings = golden_strings();
  ASSERT_EQ(strings.size(), 2200u);
  GoldenReader goldens(kGoldens / GetParam() / "goldens.bin");
  for (std::size_t i = 0; i < strings.size(); ++i) {
    SCOPED_TRACE("string " + std::to_string(i) + ": " + strings[i]);
    const std::uint64_t count = goldens.number();
    if (count == kNotComparable) continue;
    const std::vector<TokenId> want = goldens.ids(count);
    auto got = tokenizer_->encode(strings[i], i % 2 == 1);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(*got, want);
    ++compared_;
    ASSERT_NO_FATAL_FAILURE(check_decodings(want, strings[i], goldens));
  }
  for (std::uint64_t left = goldens.number(); left > 0; --left) {
    const std::vector<TokenId> ids = goldens.ids(goldens.number());
    SCOPED_TRACE("random ids " + testing::PrintToString(ids));
    ASSERT_NO_FATAL_FAILURE(check_decodings(ids, "", goldens));
  }
  EXPECT_TRUE(goldens.done());
  EXPECT_GT(compared_, 3000);
}

// What a stream shows equals decode(): bytes joined, broken parts replaced, one leading space dropped where
// the family does.
TEST_P(TokenizerGolden, StreamedBytesJoinToDecode) {
  int compared = 0;
  for (const std::string& text : golden_strings()) {
    const auto ids = tokenizer_->encode(text, false);
    ASSERT_TRUE(ids);
    std::string bytes, streamed;
    for (TokenId id : *ids) tokenizer_->append_bytes(id, true, bytes);
    if (well_formed_prefix(bytes) != bytes.size()) continue;
    if (tokenizer_->strips_leading_space() && bytes.starts_with(' ')) bytes.erase(0, 1);
    append_lossy(bytes, streamed);
    const std::string_view shape = GetParam();
    std::string decoded = tokenizer_->decode(*ids, true);
    if (shape == "metaspace" ||
        shape == "sentencepiece_symbols") {  // these decoders drop a run of leading spaces
      streamed.erase(0, streamed.find_first_not_of(' '));
      decoded.erase(0, decoded.find_first_not_of(' '));
    }
    ASSERT_EQ(streamed, decoded) << text;
    ++compared;
  }
  EXPECT_GT(compared, 1500);
}

INSTANTIATE_TEST_SUITE_P(Shapes, TokenizerGolden,
                         testing::Values("llama3", "qwen2", "tekken", "deepseek3", "deepseek1", "gpt2",
                                         "gpt2_prefix", "flags", "llama2", "mistral", "metaspace",
                                         "sentencepiece", "sentencepiece_symbols"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace leadline::coordinator
