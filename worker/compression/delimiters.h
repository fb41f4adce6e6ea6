#pragma once
// Delimiters: which token ids end a chunk of text (SemantiCache 2603.14303, section 2.1), from the
// vocabulary's strings. Not a tokenizer. Thread: pure. The set: . , ? ! ; : space tab newline.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/errc.h"

namespace leadline::worker {

// A token is a delimiter if its bytes are delimiters and nothing else (and not empty): so ".\n\n" is one, "
// word" is not, though a space stands in it. docs/compression.md has the ablation of the rules.
enum class DelimiterRule : std::uint8_t {
  only = 0,     // all bytes are delimiters
  exact = 1,    // exactly one delimiter
  contains = 2  // some byte but a leading space is one
};
bool is_delimiter(std::string_view token, DelimiterRule rule = DelimiterRule::only);

// One flag per id.
std::vector<std::uint8_t> delimiter_flags(std::span<const std::string> tokens,
                                          DelimiterRule rule = DelimiterRule::only);

// The bytes of a byte-level BPE token ("Ġthe" -> " the"); characters outside the byte alphabet stay as they
// are.
std::string bytes_of_token(std::string_view token);

}  // namespace leadline::worker
