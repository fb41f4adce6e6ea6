#include "coordinator/text/jinja/text_cut.h"

#include <algorithm>

#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {

std::string_view stripped(std::string_view text, bool left, bool right) {
  if (left) text.remove_prefix(leading_space(text));
  if (right) text.remove_suffix(trailing_space(text));
  return text;
}

std::string_view stripped_of(std::string_view text, std::string_view characters, bool left, bool right) {
  const auto listed = [&](std::string_view one) {
    for (std::size_t i = 0; i < characters.size();) {
      const std::size_t length = utf8_step(characters, i).length;
      if (characters.substr(i, length) == one) return true;
      i += length;
    }
    return false;
  };
  while (left && !text.empty()) {
    const std::size_t length = utf8_step(text, 0).length;
    if (!listed(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80)
      --begin;
    if (!listed(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::vector<std::string_view> split_on(std::string_view text, std::string_view sep, std::int64_t limit,
                                       bool from_right) {
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const std::size_t at = from_right ? text.rfind(sep) : text.find(sep);
    if (at == std::string_view::npos) break;
    parts.push_back(from_right ? text.substr(at + sep.size()) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(at + sep.size());
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

namespace {
std::size_t word_length(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const Utf8Step step = utf8_step(text, i);
    if (step.valid && is_space(step.code_point)) break;
    i += step.length;
  }
  return i;
}
// Bytes of the last word of a text without trailing white space.
std::size_t last_word_length(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0) {
    std::size_t previous = begin - 1;
    while (previous > 0 && begin - previous < 4 &&
           (static_cast<unsigned char>(text[previous]) & 0xC0) == 0x80)
      --previous;
    const Utf8Step step = utf8_step(text, previous);
    if (step.valid && is_space(step.code_point)) break;
    begin = previous;
  }
  return text.size() - begin;
}
}  // namespace

std::vector<std::string_view> split_on_space(std::string_view text, std::int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  text = stripped(text, !from_right, from_right);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) >= limit) {
      parts.push_back(text);
      break;
    }
    const std::size_t length = from_right ? last_word_length(text) : word_length(text);
    parts.push_back(from_right ? text.substr(text.size() - length) : text.substr(0, length));
    text = from_right ? text.substr(0, text.size() - length) : text.substr(length);
    text = stripped(text, !from_right, from_right);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const char32_t c = step.valid ? step.code_point : 0xFFFD;
    std::size_t length = step.length;
    const bool breaks =
        (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') length = 2;
    if (breaks) {
      lines.push_back(text.substr(start, i - start + (keep_ends ? length : 0)));
      start = i + length;
    }
    i += length;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string replaced(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t limit) {
  std::string out;
  std::size_t i = 0;
  const auto put = [&](std::string_view part) {
    out += part;
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a text is too long after replace");
  };
  if (from.empty()) {  // before every character and at the end
    for (; limit != 0; --limit) {
      put(to);
      if (i >= text.size()) break;
      const std::size_t length = utf8_step(text, i).length;
      put(text.substr(i, length));
      i += length;
    }
  } else {
    for (; limit != 0; --limit) {
      const std::size_t at = text.find(from, i);
      if (at == std::string_view::npos) break;
      put(text.substr(i, at - i));
      put(to);
      i = at + from.size();
    }
  }
  if (i < text.size()) put(text.substr(i));
  runtime.charge_bytes(text.size() + out.size());
  return out;
}

std::string padded(Runtime& runtime, std::string_view text, std::int64_t width, std::string_view fill,
                   char side) {
  if (length_of(runtime, Value::text(fill)) != 1)
    throw_runtime("The fill character must be exactly one character long");
  const auto have = static_cast<std::int64_t>(length_of(runtime, Value::text(text)));
  if (width <= have) return std::string(text);
  if (width > static_cast<std::int64_t>(kMaxOutputBytes / 4))
    throw_error(ErrorKind::limit, "a padded text is too long");
  const std::int64_t missing = width - have;
  std::int64_t left = side == 'r' ? missing : 0;
  if (side == 'c') left = missing / 2 + (missing & width & 1);  // as CPython's str.center
  std::string out;
  runtime.charge_memory(static_cast<std::size_t>(width) * fill.size());
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

namespace {
template <typename Wanted, typename Other>
bool cased(std::string_view text, Wanted wanted, Other other) {
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (step.valid && other(step.code_point)) return false;
    any = any || (step.valid && wanted(step.code_point));
    i += step.length;
  }
  return any;
}
}  // namespace

bool is_upper_text(std::string_view text) {
  return cased(text, is_upper, is_lower);
}
bool is_lower_text(std::string_view text) {
  return cased(text, is_lower, is_upper);
}

}  // namespace leadline::coordinator::jinja
