#pragma once
// nfc: canonical composition (UAX 15) exactly as the reference tokenizers do it: with the tables of
// Unicode 9. Later marks are starters there and are neither reordered nor composed. Not utf8proc_map: that
// has newer tables, and in 2.8 composes a Hangul syllable with U+11A7, which is no trailing consonant.
// Thread: pure function; the composition table is built once, on first use.

#include <string>
#include <string_view>

namespace leadline::coordinator {

// REQUIRES: well-formed UTF-8. Text without a character from U+0300 up comes back as it is.
std::string to_nfc(std::string_view text);

}  // namespace leadline::coordinator
