#include "coordinator/text/pattern_syntax.h"

#include <algorithm>
#include <array>

#include "coordinator/text/unicode_class.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr std::array<std::string_view, 29> kCategories = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"};
constexpr std::array<std::string_view, 7> kScripts = {"Han",   "Hiragana", "Katakana", "Hangul",
                                                      "Latin", "Thai",     "Cyrillic"};

void append_ranges(std::span<const CodePointRange> ranges, std::string& out) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  const auto hex = [&](char32_t c) {
    out += "\\x{";
    for (int shift = 20; shift >= 0; shift -= 4) out.push_back(kHex[(c >> shift) & 15]);
    out += "}";
  };
  for (const CodePointRange& r : ranges) {
    hex(r.first);
    if (r.last != r.first) {
      out += "-";
      hex(r.last);
    }
  }
}

class Translator {
 public:
  explicit Translator(std::string_view source) : source_(source) {}

  Result<std::string> run() {
    if (source_.substr(0, 4) == "(?i)") {
      out_ += "(?i)";
      at_ = 4;
    }
    while (at_ < source_.size()) {
      const char c = source_[at_];
      bool ok = true;
      if (c == '\\') {
        ok = escape(false);
      } else if (c == '[') {
        ok = bracket();
      } else if (c == '(') {
        ok = group();
      } else if (c == '{') {
        ok = interval();
      } else {
        out_.push_back(c);
        ++at_;
      }
      if (!ok) return fail(Errc::unsupported, "pattern offset " + std::to_string(at_) + ": " + why_);
    }
    return out_;
  }

 private:
  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  // "(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:". Groups never capture: nothing may refer
  // to them.
  bool group() {
    if (source_.substr(at_, 2) != "(?") {
      out_ += "(?:";
      ++at_;
      return true;
    }
    static constexpr std::string_view kKnown[] = {
        "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"};
    for (std::string_view known : kKnown) {
      if (source_.substr(at_, known.size()) != known) continue;
      out_ += known;
      at_ += known.size();
      return true;
    }
    return refuse("group '" + std::string(source_.substr(at_, 4)) + "'");
  }

  // {n}, {n,}, {n,m}. In Ruby syntax {,m} is an interval and {n,m}+ is a repeated interval; PCRE2 reads both
  // differently.
  bool interval() {
    const std::size_t close = source_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? "" : source_.substr(at_ + 1, close - at_ - 1);
    const bool digits = !body.empty() && body[0] != ',' && body.size() <= 9 &&
                        body.find_first_not_of("0123456789,") == std::string_view::npos &&
                        std::count(body.begin(), body.end(), ',') <= 1;
    if (!digits) return refuse("'{' that is not an interval");
    if (close + 1 < source_.size() && source_[close + 1] == '+') return refuse("'}+'");
    out_ += source_.substr(at_, close + 1 - at_);
    at_ = close + 1;
    return true;
  }

  bool escape(bool in_class) {
    if (at_ + 1 >= source_.size()) return refuse("pattern ends in a backslash");
    const char c = source_[at_ + 1];
    switch (c) {
      case 's':
      case 'd':
      case 'w':
      case 'S':
      case 'D':
      case 'W':
        return class_escape(c, in_class);
      case 'p':
      case 'P':
        return property(in_class);
      case 'x':
      case 'u':
        return hex_escape(c);
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_ += source_.substr(at_, 2);
        break;
      case 'v':
        out_ += "\\x{0B}";
        break;
      case 'A':
      case 'z':
      case 'Z':
        if (in_class) return refuse(std::string("'\\") + c + "' in a class");
        out_ += source_.substr(at_, 2);
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c))) {
          return refuse(std::string("escape '\\") + c + "'");
        }
        out_ += source_.substr(at_, 2);
    }
    at_ += 2;
    return true;
  }

  bool hex_escape(char kind) {
    static constexpr std::string_view kDigits = "0123456789abcdefABCDEF";
    std::size_t first = at_ + 2, end = 0, next = 0;
    if (kind == 'x' && first < source_.size() && source_[first] == '{') {
      ++first;
      end = source_.find('}', first);
      next = end + 1;
    } else {
      end = next = first + (kind == 'u' ? 4 : 2);
    }
    if (end == std::string_view::npos || end > source_.size() || end == first || end - first > 6) {
      return refuse("malformed hexadecimal escape");
    }
    const std::string_view digits = source_.substr(first, end - first);
    if (digits.find_first_not_of(kDigits) != std::string_view::npos)
      return refuse("malformed hexadecimal escape");
    out_ += "\\x{" + std::string(digits) + "}";
    at_ = next;
    return true;
  }

  // \s and \w have other members in PCRE2, \d newer ones: always written out.
  bool class_escape(char c, bool in_class) {
    std::string members;
    switch (c | 0x20) {
      case 's':
        append_ranges(white_space_ranges(), members);
        break;
      case 'd':
        append_category("Nd", members);
        break;
      default:
        for (std::string_view name : {"L", "M", "Nd", "Nl", "Pc"}) append_category(name, members);
        append_ranges(extra_word_ranges(), members);
    }
    const bool negative = c < 'a';
    at_ += 2;
    return emit_members(members, negative, in_class, std::string("'\\") + c + "'");
  }

  bool emit_members(const std::string& members, bool negative, bool in_class, const std::string& what) {
    if (in_class) {
      if (negative) return refuse(what + " in a class");
      out_ += members;
    } else {
      out_ += (negative ? "[^" : "[") + members + "]";
    }
    return true;
  }

  static void append_category(std::string_view name, std::string& out) {
    out += "\\p{" + std::string(name) + "}";
    for (std::string_view category : kCategories) {
      if (category.substr(0, name.size()) == name) append_ranges(unicode_additions(category), out);
    }
  }

  bool property(bool in_class) {
    bool negative = source_[at_ + 1] == 'P';
    if (at_ + 2 >= source_.size() || source_[at_ + 2] != '{') return refuse("'\\p' without braces");
    const std::size_t close = source_.find('}', at_);
    if (close == std::string_view::npos) return refuse("'\\p{' without '}'");
    std::string_view name = source_.substr(at_ + 3, close - at_ - 3);
    if (name.substr(0, 1) == "^") {
      negative = !negative;
      name.remove_prefix(1);
    }
    std::string members;
    const bool major = name.size() == 1 && std::string_view("LMNPSZ").find(name[0]) != std::string_view::npos;
    if (major ||
        (name != "Cs" && std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end())) {
      append_category(name, members);
    } else if (std::find(kScripts.begin(), kScripts.end(), name) != kScripts.end()) {
      members = "\\p{sc:" + std::string(name) + "}";
      append_ranges(unicode_additions(name), members);
    } else {
      return refuse("property '" + std::string(name) + "'");
    }
    at_ = close + 1;
    return emit_members(members, negative, in_class, "negated property");
  }

  // [...] without nested classes, intersections and POSIX names.
  bool bracket() {
    out_.push_back('[');
    ++at_;
    if (at_ < source_.size() && source_[at_] == '^') {
      out_.push_back('^');
      ++at_;
    }
    if (at_ < source_.size() && source_[at_] == ']') return refuse("']' first in a class");
    while (at_ < source_.size() && source_[at_] != ']') {
      if (source_[at_] == '[') return refuse("'[' in a class");
      if (source_.substr(at_, 2) == "&&") return refuse("'&&' in a class");
      if (source_[at_] == '\\') {
        if (!escape(true)) return false;
      } else {
        out_.push_back(source_[at_++]);
      }
    }
    if (at_ >= source_.size()) return refuse("class without ']'");
    out_.push_back(']');
    ++at_;
    return true;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  std::string out_;
  std::string why_;
};

}  // namespace

Result<std::string> translate_pattern(std::string_view oniguruma) {
  if (oniguruma.empty()) return fail(Errc::unsupported, "empty pattern");
  if (oniguruma.size() > kMaxPatternBytes) return fail(Errc::unsupported, "pattern of more than 16384 bytes");
  return Translator(oniguruma).run();
}

std::string quote_pattern(std::string_view literal) {
  std::string out;
  for (char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c)))
      out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace leadline::coordinator
