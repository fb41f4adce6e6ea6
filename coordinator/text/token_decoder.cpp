#include "coordinator/text/token_decoder.h"

#include "coordinator/text/byte_alphabet.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kMetaspace = "\xE2\x96\x81";

std::string replace_all(std::string_view text, std::string_view from, std::string_view with) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string_view::npos; at = found + from.size()) {
    out.append(text.substr(at, found - at));
    out.append(with);
  }
  out.append(text.substr(at));
  return out;
}

std::string replace_pattern(const DecodeReplace& step, std::string_view text) {
  if (!step.pattern) return replace_all(text, step.literal, step.with);
  std::string out;
  std::size_t at = 0;
  Matcher matcher;
  while (at < text.size()) {
    auto found = step.pattern->find(text, at, matcher);
    if (!found || !found->has_value()) break;  // a token's text is short: the limit is out of reach
    out.append(text.substr(at, (*found)->begin - at));
    out.append(step.with);
    at = (*found)->end;
  }
  out.append(text.substr(at));
  return out;
}

// Runs of byte tokens -> text. per_byte: an ill-formed run becomes one U+FFFD per byte (tokenizers), else
// only its broken parts do, one per byte (sentencepiece).
void flush_bytes(std::string& bytes, bool whole_run, std::vector<std::string>& out) {
  if (bytes.empty()) return;
  std::string text;
  std::string_view left = bytes;
  if (whole_run && well_formed_prefix(left) != left.size()) {
    for (std::size_t i = 0; i < left.size(); ++i) text.append(kReplacementCharacter);
    left = {};
  }
  while (!left.empty()) {
    const std::size_t good = well_formed_prefix(left);
    text.append(left.substr(0, good));
    left.remove_prefix(good);
    if (left.empty()) break;
    text.append(kReplacementCharacter);
    left.remove_prefix(1);
  }
  out.push_back(std::move(text));
  bytes.clear();
}

std::vector<std::string> join_bytes(std::vector<std::string> tokens, bool whole_run) {
  std::vector<std::string> out;
  std::string bytes;
  for (std::string& token : tokens) {
    if (const auto byte = byte_of_token(token)) {
      bytes.push_back(static_cast<char>(*byte));
      continue;
    }
    flush_bytes(bytes, whole_run, out);
    out.push_back(std::move(token));
  }
  flush_bytes(bytes, whole_run, out);
  return out;
}

std::string strip(const DecodeStrip& step, std::string_view token) {
  std::size_t begin = 0, end = token.size();
  for (std::size_t i = 0; i < step.start && begin < end; ++i) {
    std::size_t next = begin;
    if (next_code_point(token, next) != step.content) break;
    begin = next;
  }
  for (std::size_t i = 0; i < step.stop && begin < end; ++i) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(token[last]) & 0xC0) == 0x80) --last;
    std::size_t next = last;
    if (next_code_point(token, next) != step.content) break;
    end = last;
  }
  return std::string(token.substr(begin, end - begin));
}

std::string byte_level(std::string_view token) {
  auto bytes = bytes_of_written(token);
  return bytes ? std::move(*bytes) : std::string(token);
}

std::vector<std::string> sentencepiece(const DecodeSentencePiece& step, std::vector<std::string> tokens) {
  bool at_start = step.strips_first;
  for (std::string& token : tokens) {
    if (at_start && byte_of_token(token)) at_start = false;
    if (at_start && token.compare(0, kMetaspace.size(), kMetaspace) == 0) {
      token.erase(0, kMetaspace.size());
      at_start = step.strips_all && token.empty();
    } else if (!token.empty()) {
      at_start = false;
    }
    token = replace_all(token, kMetaspace, " ");
  }
  return join_bytes(std::move(tokens), false);
}

struct Apply {
  std::vector<std::string> tokens;

  void operator()(const DecodeByteLevel&) {
    std::string bytes;
    for (const std::string& token : tokens) bytes += byte_level(token);
    std::string text;
    append_lossy(bytes, text);
    tokens.assign(1, std::move(text));
  }
  void operator()(const DecodeReplace& step) {
    for (std::string& token : tokens) token = replace_pattern(step, token);
  }
  void operator()(const DecodeByteFallback&) { tokens = join_bytes(std::move(tokens), true); }
  void operator()(const DecodeFuse&) {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens.assign(1, std::move(all));
  }
  void operator()(const DecodeStrip& step) {
    for (std::string& token : tokens) token = strip(step, token);
  }
  void operator()(const DecodeMetaspace& step) {
    std::string replacement;
    append_code_point(step.replacement, replacement);
    bool first = true;
    for (std::string& token : tokens) {
      token = replace_all(token, replacement, first && step.strips_first ? "" : " ");
      first = false;
    }
  }
  void operator()(const DecodeSentencePiece& step) { tokens = sentencepiece(step, std::move(tokens)); }
};

}  // namespace

std::optional<unsigned char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return std::nullopt;
    }
    value = value * 16 + digit;
  }
  return static_cast<unsigned char>(value);
}

std::string TokenDecoder::decode(std::vector<std::string> tokens) const {
  Apply apply{std::move(tokens)};
  for (const DecoderStep& step : steps_) std::visit(apply, step);
  std::string out;
  bool first = true;
  for (const std::string& token : apply.tokens) {
    if (steps_.empty() && !first) out.push_back(' ');
    out += token;
    first = false;
  }
  return out;
}

// A token in the middle meets the steps that work on single tokens; joins and strips at the ends of the text
// pass it by.
std::string TokenDecoder::piece_bytes(std::string_view token) const {
  std::string text(token);
  bool fused = false;
  for (const DecoderStep& step : steps_) {
    if (std::holds_alternative<DecodeByteLevel>(step)) {
      text = byte_level(text);
    } else if (const auto* change = std::get_if<DecodeReplace>(&step)) {
      text = replace_pattern(*change, text);
    } else if (std::holds_alternative<DecodeByteFallback>(step)) {
      if (const auto byte = byte_of_token(text)) text.assign(1, static_cast<char>(*byte));
    } else if (std::holds_alternative<DecodeFuse>(step)) {
      fused = true;
    } else if (const auto* ends = std::get_if<DecodeStrip>(&step)) {
      if (!fused) text = strip(*ends, text);
    } else if (const auto* meta = std::get_if<DecodeMetaspace>(&step)) {
      std::string replacement;
      append_code_point(meta->replacement, replacement);
      text = replace_all(text, replacement, " ");
    } else {
      text = replace_all(text, kMetaspace, " ");
      if (const auto byte = byte_of_token(token)) text.assign(1, static_cast<char>(*byte));
    }
  }
  return steps_.empty() ? " " + text : text;
}

bool TokenDecoder::strips_leading_space() const {
  bool fused = false;
  for (const DecoderStep& step : steps_) {
    if (std::holds_alternative<DecodeFuse>(step)) fused = true;
    const auto* ends = std::get_if<DecodeStrip>(&step);
    if (ends != nullptr && fused && ends->start > 0 && ends->content == U' ') return true;
    const auto* meta = std::get_if<DecodeMetaspace>(&step);
    if (meta != nullptr && meta->strips_first) return true;
    const auto* piece = std::get_if<DecodeSentencePiece>(&step);
    if (piece != nullptr && piece->strips_first) return true;
  }
  return steps_.empty();
}

}  // namespace leadline::coordinator
