#pragma once
// Character classes and case as Python's str has them, over UTF-8. Simple case mapping plus the two mappings
// that templates meet (sharp s, dotted I): no final sigma, no ligatures, no locale. Not the tokenizers'
// classes (coordinator/text). Thread: pure functions.

#include <cstddef>
#include <string>
#include <string_view>

namespace leadline::coordinator::jinja {

bool is_space(char32_t c);      // str.isspace
bool is_printable(char32_t c);  // str.isprintable: what repr leaves as it is
bool is_alpha(char32_t c);
bool is_digit(char32_t c);  // ASCII digits only
bool is_upper(char32_t c);
bool is_lower(char32_t c);
void append_upper(char32_t c, std::string& out);
void append_lower(char32_t c, std::string& out);

// Bytes of white space at either end.
std::size_t leading_space(std::string_view text);
std::size_t trailing_space(std::string_view text);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalized(std::string_view text);  // first letter up, the others down

}  // namespace leadline::coordinator::jinja
