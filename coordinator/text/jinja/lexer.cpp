#include "coordinator/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "coordinator/text/jinja/limits.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/jinja/template_error.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// "\r\n" and "\r" become "\n", and one newline at the very end goes, as jinja2 does.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out.push_back('\n');
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) lex_data();
    emit(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void error(std::string message) const {
    throw_error(ErrorKind::syntax, std::move(message), line_);
  }
  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  bool at(std::string_view text) const { return rest().starts_with(text); }
  char peek(std::size_t ahead = 0) const {
    return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0';
  }
  void emit(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void advance(std::size_t bytes) {
    for (const char c : std::string_view(source_).substr(position_, bytes)) line_ += c == '\n';
    line_starting_ = bytes > 0 && source_[position_ + bytes - 1] == '\n';
    position_ += bytes;
  }
  std::size_t whitespace_from(std::size_t position) const {
    return leading_space(std::string_view(source_).substr(position));
  }

  // Text up to the next opening tag, then the tag itself.
  void lex_data() {
    std::size_t begin = position_;
    do {
      begin = source_.find('{', begin);
      if (begin == std::string::npos || begin + 1 >= source_.size()) {
        begin = source_.size();
        break;
      }
      const char second = source_[begin + 1];
      if (second == '%' || second == '{' || second == '#') break;
    } while (++begin < source_.size());
    std::string_view text = std::string_view(source_).substr(position_, begin - position_);
    if (begin >= source_.size()) {
      if (!text.empty()) emit(TokenKind::data, std::string(text));
      advance(text.size());
      return;
    }
    const char kind = source_[begin + 1];
    const char sign = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
    if (sign == '-') {
      text = text.substr(0, text.size() - trailing_space(text));
    } else if (sign != '+' && kind != '{') {
      text = without_line_indent(text);
    }
    if (!text.empty()) emit(TokenKind::data, std::string(text));
    advance(begin - position_ + 2 + (sign == '-' || sign == '+' ? 1 : 0));
    if (kind == '#') {
      skip_comment();
    } else if (kind == '{') {
      emit(TokenKind::print_begin, "");
      lex_code(true);
    } else if (!lex_raw()) {
      emit(TokenKind::block_begin, "");
      lex_code(false);
    }
  }

  // lstrip_blocks: blanks between the start of a line and a tag are dropped.
  std::string_view without_line_indent(std::string_view text) const {
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    const std::string_view indent = text.substr(line_start);
    return leading_space(indent) == indent.size() ? text.substr(0, line_start) : text;
  }

  // Ends a block, comment or raw section whose closing mark is `close` ("%}" or "#}"): "-" eats white space
  // after it, "+" nothing, none one newline (trim_blocks). False when it is not there.
  bool try_close(std::string_view close) {
    const char sign = peek();
    const std::size_t skip = sign == '-' || sign == '+' ? 1 : 0;
    if (!rest().substr(skip).starts_with(close)) return false;
    advance(skip + 2);
    if (sign == '-') {
      const std::size_t space = whitespace_from(position_);
      if (space > 0) advance(space);
    } else if (sign != '+' && peek() == '\n') {
      advance(1);
    }
    return true;
  }

  void skip_comment() {
    while (position_ < source_.size()) {
      if (try_close("#}")) return;
      advance(1);
    }
    error("a comment is not closed");
  }

  bool lex_raw() {
    std::size_t p = position_ + whitespace_from(position_);
    if (std::string_view(source_).substr(p, 3) != "raw") return false;
    p += 3;
    p += whitespace_from(p);
    const bool strip = p < source_.size() && source_[p] == '-';
    if (std::string_view(source_).substr(p + strip, 2) != "%}") return false;
    advance(p + strip + 2 - position_);
    if (strip) advance(whitespace_from(position_));
    const std::size_t start = position_;
    for (std::size_t mark = source_.find("{%", start); mark != std::string::npos;
         mark = source_.find("{%", mark + 2)) {
      std::size_t q = mark + 2;
      const char sign = q < source_.size() ? source_[q] : '\0';
      q += sign == '-' || sign == '+';
      q += whitespace_from(q);
      if (std::string_view(source_).substr(q, 6) != "endraw") continue;
      std::string_view text = std::string_view(source_).substr(start, mark - start);
      if (sign == '-') {
        text = text.substr(0, text.size() - trailing_space(text));
      } else if (sign != '+') {
        text = without_line_indent(text);
      }
      const std::string data(text);
      if (!data.empty()) emit(TokenKind::data, data);
      advance(q + 6 - position_);
      advance(whitespace_from(position_));
      if (!try_close("%}")) error("endraw is not closed");
      return true;
    }
    error("a raw block is not closed");
  }

  void lex_code(bool print) {
    const int opened = line_;
    std::string brackets;
    while (true) {
      if (brackets.empty()) {
        if (print ? try_close_print() : try_close("%}")) {
          emit(print ? TokenKind::print_end : TokenKind::block_end, "");
          return;
        }
      }
      const std::size_t space = whitespace_from(position_);
      if (space > 0) {
        advance(space);
        continue;
      }
      if (position_ >= source_.size()) {
        line_ = opened;
        error(print ? "'{{' is not closed" : "'{%' is not closed");
      }
      lex_token(brackets);
    }
  }

  bool try_close_print() {
    if (at("-}}")) {
      advance(3);
      advance(whitespace_from(position_));
      return true;
    }
    if (!at("}}")) return false;
    advance(2);
    return true;
  }

  void lex_token(std::string& brackets) {
    const char c = peek();
    if (is_digit(c)) return lex_number();
    if (is_name_start(c)) {
      std::size_t n = 1;
      while (is_name_start(peek(n)) || is_digit(peek(n))) ++n;
      emit(TokenKind::name, std::string(rest().substr(0, n)));
      return advance(n);
    }
    if (c == '\'' || c == '"') return lex_string(c);
    static constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    const auto two = std::find(kLong.begin(), kLong.end(), rest().substr(0, 2));
    if (two != kLong.end()) {
      emit(TokenKind::op, std::string(*two));
      return advance(2);
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      error(std::string("unexpected character '") + c + "'");
    }
    if (c == '(' || c == '[' || c == '{') brackets.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) error(std::string("unexpected '") + c + "'");
      brackets.pop_back();
    }
    emit(TokenKind::op, std::string(1, c));
    advance(1);
  }

  void lex_number() {
    const char marker = static_cast<char>(peek(1) | 0x20);
    if (peek() == '0' && (marker == 'x' || marker == 'o' || marker == 'b')) {
      throw_error(ErrorKind::unsupported, "a number with a base prefix", line_);
    }
    const auto digits = [&](std::size_t from) {
      std::size_t n = from;
      while (is_digit(peek(n)) || (peek(n) == '_' && is_digit(peek(n + 1)))) ++n;
      return n;
    };
    // After a dot digits are an index (a.0.1), never a fraction.
    const bool index = !tokens_.empty() && tokens_.back().kind == TokenKind::op &&
                       tokens_.back().text == "." && position_ > 0 && source_[position_ - 1] == '.';
    std::size_t n = digits(0);
    bool real = false;
    if (!index && peek(n) == '.' && is_digit(peek(n + 1))) {
      n = digits(n + 1);
      real = true;
    }
    if (!index && (peek(n) == 'e' || peek(n) == 'E')) {
      const std::size_t sign = peek(n + 1) == '+' || peek(n + 1) == '-' ? 1 : 0;
      if (is_digit(peek(n + 1 + sign))) {
        n = digits(n + 1 + sign);
        real = true;
      }
    }
    std::string text(rest().substr(0, n));
    std::erase(text, '_');
    emit(real ? TokenKind::real : TokenKind::integer, std::move(text));
    advance(n);
  }

  // Python's escapes.
  void lex_string(char quote) {
    std::string text;
    std::size_t i = 1;
    for (;; ++i) {
      if (position_ + i >= source_.size()) error("a string is not closed");
      const char c = peek(i);
      if (c == quote) break;
      if (c != '\\') {
        text.push_back(c);
        continue;
      }
      ++i;
      i += escape(i, text) - 1;
    }
    emit(TokenKind::text, std::move(text));
    advance(i + 1);
  }

  // Decodes the escape whose letter is at `i`; returns how many bytes it takes.
  std::size_t escape(std::size_t i, std::string& out) {
    const char c = peek(i);
    static constexpr std::string_view kFrom = "nrtabfv\\'\"", kTo = "\n\r\t\a\b\f\v\\'\"";
    if (const std::size_t k = kFrom.find(c); c != '\0' && k != std::string_view::npos) {
      out.push_back(kTo[k]);
      return 1;
    }
    if (c == '\n') return 1;
    if (c >= '0' && c <= '7') {
      std::uint32_t value = 0;
      std::size_t n = 0;
      for (; n < 3 && peek(i + n) >= '0' && peek(i + n) <= '7'; ++n) value = value * 8 + (peek(i + n) - '0');
      append_code_point(value, out);
      return n;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      std::uint32_t value = 0;
      for (std::size_t n = 1; n <= digits; ++n) {
        const char h = peek(i + n);
        if (!std::isxdigit(static_cast<unsigned char>(h)))
          error("a \\" + std::string(1, c) + " escape is too short");
        value = value * 16 + (is_digit(h) ? h - '0' : (h | 0x20) - 'a' + 10);
      }
      append_code_point(value, out);
      return digits + 1;
    }
    if (c == 'N') throw_error(ErrorKind::unsupported, "a \\N escape", line_);
    out.push_back('\\');  // Python keeps what it does not know
    if (position_ + i >= source_.size()) error("a string is not closed");
    out.push_back(c);
    return 1;
  }

  std::string source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last thing consumed ended a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    throw_error(ErrorKind::limit, "the template has " + std::to_string(source.size()) + " bytes, at most " +
                                      std::to_string(kMaxSourceBytes) + " are read");
  }
  return Lexer(normalise(source)).run();
}

}  // namespace leadline::coordinator::jinja
