#pragma once
// UTF-8 as the decoders here need it: where a sequence ends, and U+FFFD for what is broken (one per maximal
// subpart, as Unicode 3.9 recommends and Rust's lossy conversion does). Not a normaliser and not a case
// mapper. Thread: pure functions.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace leadline::coordinator {

struct Utf8Step {
  std::size_t length = 0;   // bytes of the sequence, or of the maximal broken part: at least 1
  char32_t code_point = 0;  // meaningful when valid
  bool valid = false;
  bool incomplete = false;  // !valid, but more bytes at the end of the text could complete it
};

// Reads the sequence at `offset` (REQUIRES: offset < text.size()).
Utf8Step utf8_step(std::string_view text, std::size_t offset);
// Appends `bytes` to `out` with every broken part replaced by U+FFFD.
void append_lossy(std::string_view bytes, std::string& out);
// Length of an unfinished sequence at the end of `bytes`, 0 when it ends at a boundary (or in something
// broken).
std::size_t incomplete_tail(std::string_view bytes);
// Length of the longest well-formed prefix.
std::size_t well_formed_prefix(std::string_view text);
// REQUIRES: `text` is well-formed and `at` < text.size() a boundary in it; moves `at` behind the character.
// For hot loops.
char32_t next_code_point(std::string_view text, std::size_t& at);
// Appends the encoding of a scalar value; U+FFFD for what is none.
void append_code_point(char32_t code_point, std::string& out);

}  // namespace leadline::coordinator
