#include "coordinator/text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "coordinator/text/jinja/expression_parser.h"
#include "coordinator/text/jinja/limits.h"
#include "coordinator/text/jinja/template_error.h"

namespace leadline::coordinator::jinja {
namespace {

using EndNames = std::initializer_list<std::string_view>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : in_(std::move(tokens)), expressions_(in_) {}

  Block run() {
    Block block = body({});
    if (in_.current().kind != TokenKind::end) in_.fail("unexpected '" + in_.current().text + "'");
    return block;
  }

 private:
  // Statements up to a block tag named in `ends`; that tag's name is left as the current token.
  Block body(EndNames ends) {
    if (++nesting_ > kMaxSyntaxDepth) {
      throw_error(ErrorKind::limit,
                  "blocks are nested more than " + std::to_string(kMaxSyntaxDepth) + " deep",
                  in_.current().line);
    }
    const int opened = in_.current().line;
    Block block;
    while (true) {
      const Token token = in_.current();
      if (token.kind == TokenKind::data) {
        in_.take();
        auto made = statement(StatementKind::data, token.line);
        made->text = token.text;
        block.push_back(std::move(made));
      } else if (token.kind == TokenKind::print_begin) {
        in_.take();
        auto made = statement(StatementKind::print, token.line);
        made->value = expressions_.tuple();
        in_.expect(TokenKind::print_end);
        block.push_back(std::move(made));
      } else if (token.kind == TokenKind::block_begin) {
        in_.take();
        if (in_.current().kind != TokenKind::name) in_.fail("a block tag needs a name");
        const std::string& name = in_.current().text;
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) break;
        block.push_back(tag());
      } else {
        if (ends.size() != 0) {
          throw_error(ErrorKind::syntax,
                      "a block is not closed: '" + std::string(*std::prev(ends.end())) + "' is missing",
                      opened);
        }
        break;
      }
    }
    --nesting_;
    return block;
  }

  static std::unique_ptr<Statement> statement(StatementKind kind, int line) {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = line;
    return made;
  }
  void close() { in_.expect(TokenKind::block_end); }
  // The end tag whose name is the current token.
  void end_tag() {
    in_.take();
    close();
  }

  std::unique_ptr<Statement> tag() {
    const Token token = in_.take();
    const std::string& name = token.text;
    if (name == "if") return branches(token.line);
    if (name == "for") return loop(token.line);
    if (name == "set") return set(token.line);
    if (name == "macro") return macro(token.line);
    if (name == "call") return call_block(token.line);
    if (name == "filter") return filter_block(token.line);
    if (name == "with") return with(token.line);
    if (name == "print") return print(token.line);
    if (name == "generation") {
      auto made = statement(StatementKind::scope, token.line);
      close();
      made->body = body({"endgeneration"});
      end_tag();
      return made;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) throw_error(ErrorKind::syntax, "'" + name + "' outside of a loop", token.line);
      auto made =
          statement(name == "break" ? StatementKind::break_loop : StatementKind::continue_loop, token.line);
      close();
      return made;
    }
    static constexpr std::array<std::string_view, 9> kRefused = {
        "extends", "include", "import", "from", "block", "autoescape", "do", "trans", "debug"};
    if (std::find(kRefused.begin(), kRefused.end(), name) != kRefused.end()) {
      in_.refuse("the tag '" + name + "'", token.line);
    }
    throw_error(ErrorKind::syntax, "unknown tag '" + name + "'", token.line);
  }

  // {% print a, b %}: one after the other.
  std::unique_ptr<Statement> print(int line) {
    auto made = statement(StatementKind::scope, line);
    do {
      auto one = statement(StatementKind::print, line);
      one->value = expressions_.expression();
      made->body.push_back(std::move(one));
    } while (in_.skip_op(","));
    close();
    return made;
  }

  std::unique_ptr<Statement> branches(int line) {
    auto made = statement(StatementKind::branches, line);
    while (true) {
      Arm arm;
      arm.condition = expressions_.tuple(false);
      close();
      arm.body = body({"elif", "else", "endif"});
      made->arms.push_back(std::move(arm));
      if (!in_.skip_name("elif")) break;
    }
    if (in_.skip_name("else")) {
      close();
      Arm arm;
      arm.body = body({"endif"});
      made->arms.push_back(std::move(arm));
    }
    end_tag();
    return made;
  }

  std::unique_ptr<Statement> loop(int line) {
    auto made = statement(StatementKind::loop, line);
    targets(*made);
    in_.expect_name("in");
    made->value = expressions_.tuple(false, "recursive");
    if (in_.skip_name("if")) made->condition = expressions_.expression();
    if (in_.is_name("recursive")) in_.refuse("a recursive loop", line);
    close();
    ++loops_;
    made->body = body({"else", "endfor"});
    --loops_;
    if (in_.skip_name("else")) {
      close();
      made->other = body({"endfor"});
    }
    end_tag();
    return made;
  }

  std::string target() {
    const int line = in_.current().line;
    const bool parenthesised = in_.is_op("(");
    if (parenthesised) in_.refuse("a parenthesised target", line);
    std::string name = in_.expect_identifier();
    static constexpr std::array<std::string_view, 6> kConstants = {"true",  "True", "false",
                                                                   "False", "none", "None"};
    if (std::find(kConstants.begin(), kConstants.end(), name) != kConstants.end()) {
      throw_error(ErrorKind::syntax, "cannot assign to '" + name + "'", line);
    }
    return name;
  }

  void targets(Statement& made) {
    made.targets.push_back(target());
    while (in_.skip_op(",")) {
      made.unpack = true;
      if (in_.is_name("in") || in_.is_op("=") || in_.current().kind == TokenKind::block_end) break;
      made.targets.push_back(target());
    }
  }

  std::unique_ptr<Statement> set(int line) {
    auto made = statement(StatementKind::set, line);
    targets(*made);
    if (!made->unpack && in_.skip_op(".")) {
      made->field = true;
      made->text = in_.expect_identifier();
    }
    if (in_.skip_op("=")) {
      made->value = expressions_.tuple();
      close();
      return made;
    }
    if (made->unpack) in_.fail("a block assignment has one target");
    made->kind = StatementKind::set_block;
    if (in_.is_op("|")) made->value = expressions_.filters(nullptr, false);
    close();
    made->body = isolated({"endset"});
    end_tag();
    return made;
  }

  // A body that break and continue cannot leave.
  Block isolated(EndNames ends) {
    const int loops = std::exchange(loops_, 0);
    Block block = body(ends);
    loops_ = loops;
    return block;
  }

  void parameters(Statement& made) {
    in_.expect_op("(");
    while (!in_.is_op(")")) {
      Parameter parameter{target(), nullptr};
      if (in_.skip_op("=")) {
        parameter.fallback = expressions_.expression();
      } else if (!made.parameters.empty() && made.parameters.back().fallback) {
        in_.fail("a parameter without a default follows one with a default");
      }
      made.parameters.push_back(std::move(parameter));
      if (!in_.skip_op(",")) break;
    }
    in_.expect_op(")");
  }

  std::unique_ptr<Statement> macro(int line) {
    auto made = statement(StatementKind::macro, line);
    made->text = target();
    parameters(*made);
    close();
    const bool outer = std::exchange(expressions_.inside_macro, true);
    made->body = isolated({"endmacro"});
    expressions_.inside_macro = outer;
    end_tag();
    return made;
  }

  std::unique_ptr<Statement> call_block(int line) {
    auto made = statement(StatementKind::call_block, line);
    made->text = "caller";
    if (in_.is_op("(")) parameters(*made);
    made->value = expressions_.postfix_call();
    close();
    made->body = isolated({"endcall"});
    end_tag();
    return made;
  }

  std::unique_ptr<Statement> filter_block(int line) {
    auto made = statement(StatementKind::filter_block, line);
    made->value = expressions_.filters(nullptr, true);
    close();
    made->body = isolated({"endfilter"});
    end_tag();
    return made;
  }

  std::unique_ptr<Statement> with(int line) {
    auto made = statement(StatementKind::with, line);
    while (in_.current().kind != TokenKind::block_end) {
      made->targets.push_back(target());
      in_.expect_op("=");
      made->values.push_back(expressions_.expression());
      if (!in_.skip_op(",")) break;
    }
    close();
    made->body = body({"endwith"});
    end_tag();
    return made;
  }

  TokenReader in_;
  ExpressionParser expressions_;
  int nesting_ = 0, loops_ = 0;
};

}  // namespace

Block parse(std::string_view source) {
  return Parser(lex(source)).run();
}

}  // namespace leadline::coordinator::jinja
