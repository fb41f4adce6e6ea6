#include "coordinator/text/jinja/python_characters.h"

#include <utf8proc.h>

#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LU;
}
bool is_lower(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LL;
}

void append_upper(char32_t c, std::string& out) {
  if (c == 0xDF) {
    out += "SS";
    return;
  }
  append_code_point(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
}
void append_lower(char32_t c, std::string& out) {
  if (c == 0x130) {
    out += "i\xCC\x87";
    return;
  }
  append_code_point(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

std::size_t leading_space(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const Utf8Step step = utf8_step(text, i);
    if (!step.valid || !is_space(step.code_point)) break;
    i += step.length;
  }
  return i;
}

std::size_t trailing_space(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const Utf8Step step = utf8_step(text.substr(0, end), begin);
    if (!step.valid || begin + step.length != end || !is_space(step.code_point)) break;
    end = begin;
  }
  return text.size() - end;
}

namespace {
template <typename Append>
std::string mapped(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (step.valid) {
      append(i, step.code_point, out);
    } else {
      out.append(text.substr(i, step.length));
    }
    i += step.length;
  }
  return out;
}
}  // namespace

std::string to_upper(std::string_view text) {
  return mapped(text, [](std::size_t, char32_t c, std::string& out) { append_upper(c, out); });
}
std::string to_lower(std::string_view text) {
  return mapped(text, [](std::size_t, char32_t c, std::string& out) { append_lower(c, out); });
}
std::string capitalized(std::string_view text) {
  return mapped(text, [](std::size_t i, char32_t c, std::string& out) {
    i == 0 ? append_upper(c, out) : append_lower(c, out);
  });
}

}  // namespace leadline::coordinator::jinja
