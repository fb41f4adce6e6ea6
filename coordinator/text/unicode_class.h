#pragma once
// Unicode classes at the version that the reference tokenizers use (16), on top of the older tables of PCRE2
// and utf8proc. Not a property database: only what tokenizer files ask for. Thread: pure functions over
// constant tables.

#include <span>
#include <string_view>

namespace leadline::coordinator {

struct CodePointRange {
  char32_t first, last;  // inclusive
};

// Code points that newer Unicode versions put into general category or script `name` ("Lo", "Han") and that
// PCRE2 10.42 does not know yet. A one-letter name ("L") is the union of the categories that start with it:
// ask for each.
std::span<const CodePointRange> unicode_additions(std::string_view name);
// Members of Oniguruma's \s and of its \w beyond letters, marks, Nd, Nl and Pc.
std::span<const CodePointRange> white_space_ranges();
std::span<const CodePointRange> extra_word_ranges();

bool is_white_space(char32_t c);  // Unicode White_Space
bool is_word(char32_t c);         // Alphabetic, M, Nd, Pc, Join_Control (UTS 18)
bool is_numeric(char32_t c);      // Nd, Nl, No

}  // namespace leadline::coordinator
