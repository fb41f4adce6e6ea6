#pragma once
// byte_alphabet: the printable alphabet in which byte-level vocabularies write bytes (GPT-2: printable
// Latin-1 stands for itself, the other 68 bytes for U+0100 and up). Not an encoding of text. Thread: pure
// functions.

#include <optional>
#include <string>
#include <string_view>

namespace leadline::coordinator {

// The bytes that `written` stands for; nothing when a character is outside the alphabet. REQUIRES:
// well-formed UTF-8.
std::optional<std::string> bytes_of_written(std::string_view written);

}  // namespace leadline::coordinator
