#pragma once
// pattern_syntax: a pre-tokeniser pattern as tokenizer.json writes it (Oniguruma, Ruby syntax) -> PCRE2 with
// the same meaning. Not a regex engine. What is not known to mean the same is refused, never guessed. Thread:
// pure function.

#include <string>
#include <string_view>

#include "coordinator/errc.h"

namespace leadline::coordinator {

inline constexpr std::size_t kMaxPatternBytes = 16 * 1024;

// unsupported names the construct and its offset. The result is for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
// newline = LF.
Result<std::string> translate_pattern(std::string_view oniguruma);
// A pattern that matches exactly `literal`.
std::string quote_pattern(std::string_view literal);

}  // namespace leadline::coordinator
