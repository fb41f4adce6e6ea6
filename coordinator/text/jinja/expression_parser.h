#pragma once
// TokenReader and ExpressionParser: tokens -> expression trees, by precedence as jinja2's parser has it. Not
// the statements. Thread: one parse. Invariant: no tree is deeper than kMaxSyntaxDepth.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/lexer.h"

namespace leadline::coordinator::jinja {

class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  const Token& current() const { return tokens_[position_]; }
  const Token& ahead(std::size_t n = 1) const { return tokens_[std::min(position_ + n, tokens_.size() - 1)]; }
  Token take() {
    Token token = tokens_[position_];
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  bool is_op(std::string_view op) const { return current().kind == TokenKind::op && current().text == op; }
  bool is_name(std::string_view name) const {
    return current().kind == TokenKind::name && current().text == name;
  }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_identifier();
  void expect(TokenKind kind);
  [[noreturn]] void fail(const std::string& message) const;                // syntax
  [[noreturn]] void refuse(const std::string& construct, int line) const;  // unsupported

 private:
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& reader) : in_(reader) {}
  ExpressionPtr expression(bool with_conditional = true);
  // Expressions joined by commas become a tuple.
  ExpressionPtr tuple(bool with_conditional = true, std::string_view end_name = {});
  // Filters after `input` (null: a filter block's own text). `leading`: the first filter has no '|'.
  ExpressionPtr filters(ExpressionPtr input, bool leading);
  ExpressionPtr postfix_call();  // a call block's target
  bool inside_macro = false;     // set by the statement parser

 private:
  ExpressionPtr node(ExpressionKind kind, std::vector<ExpressionPtr> operands, std::string text = {});
  void settle_depth(Expression& made) const;
  ExpressionPtr conditional();
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filter = true);
  ExpressionPtr primary();
  ExpressionPtr parenthesised();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr base);
  ExpressionPtr filter_chain(ExpressionPtr base);
  ExpressionPtr subscript(ExpressionPtr base);
  ExpressionPtr subscript_argument();
  ExpressionPtr filter(ExpressionPtr input);
  ExpressionPtr test(ExpressionPtr input);
  void arguments(Expression& call);
  std::string dotted_name();

  TokenReader& in_;
  int nesting_ = 0;
};

}  // namespace leadline::coordinator::jinja
