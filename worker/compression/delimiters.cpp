#include "worker/compression/delimiters.h"

#include <array>
#include <charconv>

namespace leadline::worker {
namespace {

constexpr std::string_view kDelimiters = ".,?!;: \t\n";

bool delimits(char c) {
  return kDelimiters.find(c) != std::string_view::npos;
}

// GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on, in order.
std::array<int, 512> byte_of_code_point() {
  std::array<int, 512> table;
  table.fill(-1);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    table[static_cast<std::size_t>(printable ? byte : next++)] = byte;
  }
  return table;
}

}  // namespace

bool is_delimiter(std::string_view token, DelimiterRule rule) {
  if (token.empty()) return false;
  if (rule == DelimiterRule::exact) return token.size() == 1 && delimits(token[0]);
  bool all = true, inner = false;
  for (std::size_t i = 0; i < token.size(); ++i) {
    all = all && delimits(token[i]);
    inner = inner || (delimits(token[i]) && !(i == 0 && token[i] == ' '));
  }
  return rule == DelimiterRule::only ? all : all || inner;
}

std::vector<std::uint8_t> delimiter_flags(std::span<const std::string> tokens, DelimiterRule rule) {
  std::vector<std::uint8_t> flags(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) flags[i] = is_delimiter(tokens[i], rule) ? 1 : 0;
  return flags;
}

namespace {
// SentencePiece's: a byte as <0x0A>, and the mark that stands for a space.
bool byte_fallback(std::string_view token, char& byte) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return false;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5;
}
constexpr std::string_view kSpaceMark = "\xe2\x96\x81";
}  // namespace

std::string bytes_of_token(std::string_view token) {
  static const std::array<int, 512> byte_of = byte_of_code_point();
  std::string bytes;
  if (char byte = 0; byte_fallback(token, byte)) return std::string(1, byte);
  for (std::size_t i = 0; i < token.size(); ++i) {
    const auto lead = static_cast<unsigned char>(token[i]);
    if ((lead & 0xE0) == 0xC0 && i + 1 < token.size()) {
      const unsigned point = ((lead & 0x1FU) << 6) | (static_cast<unsigned char>(token[i + 1]) & 0x3FU);
      if (point < byte_of.size() && byte_of[point] >= 0) {
        bytes.push_back(static_cast<char>(byte_of[point]));
        ++i;
        continue;
      }
    }
    if (token.substr(i).starts_with(kSpaceMark)) {
      bytes.push_back(' ');
      i += kSpaceMark.size() - 1;
      continue;
    }
    bytes.push_back(token[i]);
  }
  return bytes;
}

}  // namespace leadline::worker
