#include "coordinator/text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr int kCharacters = 256 + 68;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<std::int16_t, kCharacters> make_table() {
  std::array<std::int16_t, kCharacters> table{};
  for (auto& entry : table) entry = -1;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte)
    table[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
  return table;
}

constexpr std::array<std::int16_t, kCharacters> kTable = make_table();

}  // namespace

std::optional<std::string> bytes_of_written(std::string_view written) {
  std::string out;
  out.reserve(written.size());
  std::size_t at = 0;
  while (at < written.size()) {
    const char32_t c = next_code_point(written, at);
    if (c >= kCharacters || kTable[c] < 0) return std::nullopt;
    out.push_back(static_cast<char>(kTable[c]));
  }
  return out;
}

}  // namespace leadline::coordinator
