#include "coordinator/text/stream_decoder.h"

#include <gtest/gtest.h>

#include <random>

#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

// Token i is the bytes pieces[i]; ids from `first_special` on are special.
class PieceTokenizer : public Tokenizer {
 public:
  explicit PieceTokenizer(std::vector<std::string> pieces, std::size_t first_special = SIZE_MAX,
                          bool strips = false)
      : pieces_(std::move(pieces)), first_special_(first_special), strips_(strips) {}
  Result<std::vector<TokenId>> encode(std::string_view, bool, std::size_t) const override {
    return fail(Errc::unsupported, "not needed here");
  }
  std::string decode(std::span<const TokenId> ids, bool skip) const override {
    std::string bytes, text;
    for (const TokenId id : ids) append_bytes(id, skip, bytes);
    if (strips_ && bytes.starts_with(' ')) bytes.erase(0, 1);
    append_lossy(bytes, text);
    return text;
  }
  void append_bytes(TokenId id, bool skip, std::string& out) const override {
    if (!(skip && is_special(id))) out += pieces_.at(static_cast<std::size_t>(id));
  }
  bool strips_leading_space() const override { return strips_; }
  std::size_t vocab_size() const override { return pieces_.size(); }
  std::optional<TokenId> token_to_id(std::string_view) const override { return std::nullopt; }
  std::string_view id_to_token(TokenId id) const override { return pieces_.at(static_cast<std::size_t>(id)); }
  bool is_special(TokenId id) const override { return static_cast<std::size_t>(id) >= first_special_; }

 private:
  std::vector<std::string> pieces_;
  std::size_t first_special_;
  bool strips_;
};

struct Outcome {
  std::vector<std::string> pieces;
  std::string text;
  std::optional<std::size_t> stop;
};

Outcome run(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, std::vector<std::string> stops,
            bool skip = true) {
  Outcome result;
  StreamDecoder decoder(tokenizer, std::move(stops), skip);
  const auto take = [&](const StreamPiece& piece) {
    if (result.stop) {
      EXPECT_TRUE(piece.text.empty() && !piece.stop);  // nothing follows a stop
    }
    result.pieces.push_back(piece.text);
    result.text += piece.text;
    if (piece.stop) result.stop = piece.stop;
  };
  for (const TokenId id : ids) take(decoder.push(id));
  take(decoder.finish());
  return result;
}

Outcome run_pieces(std::vector<std::string> pieces, std::vector<std::string> stops) {
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < pieces.size(); ++i) ids.push_back(static_cast<TokenId>(i));
  return run(PieceTokenizer(std::move(pieces)), ids, std::move(stops));
}

using Strings = std::vector<std::string>;

TEST(StreamDecoder, NeverSplitsASequence) {
  const Outcome r = run_pieces({"a\xF0", "\x9F", "\x98",
                                "\x80"
                                "b"},
                               {});
  EXPECT_EQ(r.pieces, (Strings{"a", "", "",
                               "\xF0\x9F\x98\x80"
                               "b",
                               ""}));
}

TEST(StreamDecoder, BrokenBytesBecomeReplacements) {
  EXPECT_EQ(run_pieces({"\xE2", "x"}, {}).pieces, (Strings{"", "\xEF\xBF\xBDx", ""}));
  EXPECT_EQ(run_pieces({"x\xE2\x82"}, {}).pieces, (Strings{"x", "\xEF\xBF\xBD"}));
  EXPECT_EQ(run_pieces({"\x80"}, {}).pieces, (Strings{"\xEF\xBF\xBD", ""}));
}

TEST(StreamDecoder, HoldsBackAPossibleStop) {
  const Outcome r = run_pieces({"so ST", "OP no"}, {"STOP!"});
  EXPECT_EQ(r.pieces, (Strings{"so ", "STOP no", ""}));
  EXPECT_FALSE(r.stop);
}

TEST(StreamDecoder, HeldTextIsReleasedAtTheEnd) {
  EXPECT_EQ(run_pieces({"x ST"}, {"STOP"}).pieces, (Strings{"x ", "ST"}));
}

TEST(StreamDecoder, StopsOverTokens) {
  const Outcome r = run_pieces({"x S", "T", "O", "Pmore", "after"}, {"no", "STOP"});
  EXPECT_EQ(r.text, "x ");
  ASSERT_TRUE(r.stop);
  EXPECT_EQ(*r.stop, 1u);
}

TEST(StreamDecoder, OverlappingPrefixes) {
  const Outcome r = run_pieces({"aa", "a", "ab"}, {"aab"});
  EXPECT_EQ(r.text, "aa");
  EXPECT_EQ(r.pieces, (Strings{
                          "",
                          "a",
                          "a",
                          "",
                      }));
  ASSERT_TRUE(r.stop);
}

TEST(StreamDecoder, TheStopThatCompletesFirstWins) {
  for (const Strings& pieces : {Strings{"xabcd"}, Strings{"x", "a", "b", "c", "d"}, Strings{"xab", "cd"}}) {
    const Outcome r = run_pieces(pieces, {"abcd", "bc"});
    EXPECT_EQ(r.text, "xa");
    EXPECT_EQ(r.stop, std::optional<std::size_t>(1));
  }
  EXPECT_EQ(run_pieces({"abc"}, {"bc", "abc"}).text, "");  // both end at once: the longest
}

TEST(StreamDecoder, EmptyStopIsIgnored) {
  const Outcome r = run_pieces({"ab"}, {"", "b"});
  EXPECT_EQ(r.text, "a");
  EXPECT_EQ(r.stop, std::optional<std::size_t>(1));
}

TEST(StreamDecoder, StopOfSeveralBytesPerCharacter) {
  const Outcome r = run_pieces({"x\xE2", "\x82",
                                "\xAC"
                                "y"},
                               {"\xE2\x82\xAC"});
  EXPECT_EQ(r.text, "x");
  EXPECT_TRUE(r.stop);
  EXPECT_EQ(run_pieces({"\xE2\x82", "\xAD"}, {"\xE2\x82\xAC"}).text, "\xE2\x82\xAD");
}

TEST(StreamDecoder, SpecialsAndLeadingSpace) {
  const PieceTokenizer tokenizer({" a", " b", "<eot>"}, 2, true);
  EXPECT_EQ(run(tokenizer, {2, 0, 1, 2}, {}, true).text, "a b");
  EXPECT_EQ(run(tokenizer, {0, 1, 2}, {}, false).text, "a b<eot>");
}

// What a byte-by-byte reader would show: the definition that the decoder must agree with for every division
// into tokens.
Outcome reference(const std::string& bytes, const Strings& stops) {
  Outcome r;
  for (std::size_t end = 1; end <= bytes.size() && !r.stop; ++end) {
    std::size_t longest = 0;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      if (stops[i].size() > longest && std::string_view(bytes).substr(0, end).ends_with(stops[i])) {
        longest = stops[i].size();
        r.stop = i;
      }
    }
    if (r.stop) append_lossy(std::string_view(bytes).substr(0, end - longest), r.text);
  }
  if (!r.stop) append_lossy(bytes, r.text);
  return r;
}

TEST(StreamDecoderProperty, AnyDivisionGivesTheSameText) {
  std::mt19937 random(7);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const Strings atoms = {
      "a",    "b",    "ab",   "aab",      " ",    "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
      "\xE2", "\x82", "\xAC", "\xF0\x9F", "\xFF", "\n",       "abab",         "\xC3"};
  const Strings stop_atoms = {"a", "b", "\xC3\xA9", "\xE2\x82\xAC", "\n", " "};
  std::size_t stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> pieces(1 + pick(6));
    for (auto& piece : pieces) {
      for (std::size_t n = 1 + pick(3); n > 0; --n) piece += atoms[pick(atoms.size())];
    }
    Strings stops(pick(4));
    for (auto& stop : stops) {
      for (std::size_t n = 1 + pick(4); n > 0; --n) stop += stop_atoms[pick(stop_atoms.size())];
    }
    const bool strips = pick(4) == 0;
    const PieceTokenizer tokenizer(pieces, SIZE_MAX, strips);
    std::vector<TokenId> ids(1 + pick(10));
    for (auto& id : ids) id = static_cast<TokenId>(pick(pieces.size()));

    std::string bytes;
    for (const TokenId id : ids) tokenizer.append_bytes(id, true, bytes);
    if (strips && bytes.starts_with(' ')) bytes.erase(0, 1);
    const Outcome expected = reference(bytes, stops), got = run(tokenizer, ids, stops);
    ASSERT_EQ(got.text, expected.text) << "round " << round;
    ASSERT_EQ(got.stop, expected.stop) << "round " << round;
    if (stops.empty()) {
      ASSERT_EQ(got.text, tokenizer.decode(ids, true));
    }
    for (const std::string& piece : got.pieces) {
      std::string again;
      append_lossy(piece, again);
      ASSERT_EQ(again, piece) << "a piece is not whole UTF-8, round " << round;
    }
    stopped += got.stop.has_value();
  }
  EXPECT_GT(stopped, 1000u);  // both outcomes were exercised
}

}  // namespace
}  // namespace leadline::coordinator
