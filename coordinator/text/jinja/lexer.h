#pragma once
// Lexer: template source -> tokens, with Jinja's whitespace control (trim_blocks and lstrip_blocks on, as
// transformers renders chat templates), comments and raw blocks resolved. Not a parser. Thread: pure
// function.

#include <string>
#include <string_view>
#include <vector>

namespace leadline::coordinator::jinja {

enum class TokenKind {
  data,
  block_begin,
  block_end,
  print_begin,
  print_end,
  name,
  text,
  integer,
  real,
  op,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // data, name, decoded string, digits or operator
  int line = 1;
};

// Throws TemplateError (syntax, limit). The last token is `end`.
std::vector<Token> lex(std::string_view source);

}  // namespace leadline::coordinator::jinja
