// tokenizer.json, tokenizer.model and tokenizer_config.json as outside bytes, and text through what loads.
// The first byte picks: 0 a tokenizer.json with a split at the first NUL to its config, 1 a tokenizer.model,
// 2 text for a small tokenizer whose steps cover all kinds. A tokenizer that loads must encode and decode a
// text of all its tokens without a crash.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "coordinator/text/sentencepiece_tokenizer.h"
#include "coordinator/text/tokenizer_json.h"
#include "monitoring/check.h"

namespace {

using leadline::coordinator::Result;
using leadline::coordinator::TokenId;
using leadline::coordinator::Tokenizer;

constexpr std::string_view kSmall = R"({"added_tokens":[
  {"id":8,"content":"<s>","special":true},
  {"id":9,"content":"[x]","lstrip":true,"rstrip":true,"normalized":true},
  {"id":10,"content":"word","single_word":true}],
 "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend","prepend":"_"},
  {"type":"Replace","pattern":{"Regex":"\\s{2,}"},"content":" "}]},
 "pre_tokenizer":{"type":"Sequence","pretokenizers":[
  {"type":"Split","pattern":{"Regex":"\\s+$"},"behavior":"Isolated"},
  {"type":"Split","pattern":{"Regex":"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}]+[\\r\\n]*|\\s+(?!\\S)|\\s+"},"behavior":"MergedWithNext"},
  {"type":"Digits","individual_digits":true},{"type":"Metaspace","prepend_scheme":"first"}]},
 "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],
  "special_tokens":{"<s>":{"ids":[8]}}},
 "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},
  {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1},{"type":"Metaspace"}]},
 "model":{"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"?":0,"a":1,"b":2,"ab":3,"_":4,"_a":5,"aba":6,"▁":7},
  "merges":["a b","_ a",["ab","a"]]}})";

void use(const Tokenizer& tokenizer, std::string_view text) {
  std::string all(text);
  for (TokenId id = 0; id < static_cast<TokenId>(tokenizer.vocab_size()) && all.size() < 4096; ++id)
    all += tokenizer.id_to_token(id);
  auto ids = tokenizer.encode(all, true, 1 << 16);
  if (!ids) return;
  for (const TokenId id : *ids) LEADLINE_CHECK(id >= 0, "a negative id");
  (void)tokenizer.decode(*ids, false);
  (void)tokenizer.decode(*ids, true);
  std::string bytes;
  for (const TokenId id : *ids) tokenizer.append_bytes(id, false, bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 3 == 2) {
    static const std::unique_ptr<Tokenizer> kTokenizer = [] {
      auto made = leadline::coordinator::parse_tokenizer_json(kSmall, "");
      LEADLINE_CHECK(made.has_value(), made ? "" : made.error().message.c_str());
      return std::move(*made);
    }();
    use(*kTokenizer, input);
    return 0;
  }
  const std::size_t cut = data[0] % 3 == 0 ? input.find('\0') : std::string_view::npos;
  const std::string_view config = cut == std::string_view::npos ? "" : input.substr(cut + 1);
  auto made = data[0] % 3 == 0 ? leadline::coordinator::parse_tokenizer_json(input.substr(0, cut), config)
                               : leadline::coordinator::parse_sentencepiece_model(input, "");
  if (made) {
    use(**made, "a b <s> \xC3\xA9\xFF");
  } else {
    LEADLINE_CHECK(!made.error().message.empty(), "an error without words");
  }
  return 0;
}
