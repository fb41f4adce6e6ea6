#include "coordinator/text/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/limits.h"
#include "coordinator/text/jinja/predicates.h"
#include "coordinator/text/jinja/template_error.h"

namespace leadline::coordinator::jinja {
namespace {

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::end:
      return "the end of the template";
    case TokenKind::block_end:
      return "'%}'";
    case TokenKind::print_end:
      return "'}}'";
    case TokenKind::text:
      return "a string";
    case TokenKind::data:
    case TokenKind::block_begin:
    case TokenKind::print_begin:
      return "template text";
    case TokenKind::name:
    case TokenKind::integer:
    case TokenKind::real:
    case TokenKind::op:
      break;
  }
  return "'" + token.text + "'";
}

template <std::size_t N>
bool any_of(std::string_view text, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

bool TokenReader::skip_op(std::string_view op) {
  if (!is_op(op)) return false;
  take();
  return true;
}
bool TokenReader::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}
void TokenReader::expect_op(std::string_view op) {
  if (!skip_op(op)) fail("expected '" + std::string(op) + "', found " + described(current()));
}
void TokenReader::expect_name(std::string_view name) {
  if (!skip_name(name)) fail("expected '" + std::string(name) + "', found " + described(current()));
}
std::string TokenReader::expect_identifier() {
  if (current().kind != TokenKind::name) fail("expected a name, found " + described(current()));
  return take().text;
}
void TokenReader::expect(TokenKind kind) {
  if (current().kind != kind) fail("unexpected " + described(current()));
  take();
}
void TokenReader::fail(const std::string& message) const {
  throw_error(ErrorKind::syntax, message, current().line);
}
void TokenReader::refuse(const std::string& construct, int line) const {
  throw_error(ErrorKind::unsupported, construct + " is not supported", line);
}

void ExpressionParser::settle_depth(Expression& made) const {
  int depth = 0;
  for (const auto& operand : made.operands) {
    if (operand) depth = std::max(depth, operand->depth);
  }
  for (const auto& [name, value] : made.named) depth = std::max(depth, value->depth);
  made.depth = depth + 1;
  if (made.depth > kMaxSyntaxDepth) {
    throw_error(ErrorKind::limit,
                "an expression is nested more than " + std::to_string(kMaxSyntaxDepth) + " deep", made.line);
  }
}

ExpressionPtr ExpressionParser::node(ExpressionKind kind, std::vector<ExpressionPtr> operands,
                                     std::string text) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = in_.current().line;
  made->operands = std::move(operands);
  made->text = std::move(text);
  settle_depth(*made);
  return made;
}

namespace {
template <typename... Pointers>
std::vector<ExpressionPtr> operands(Pointers&&... pointers) {
  std::vector<ExpressionPtr> list;
  (list.push_back(std::forward<Pointers>(pointers)), ...);
  return list;
}

// Bounds the parser's own recursion.
class Nesting {
 public:
  Nesting(int& nesting, const TokenReader& in) : nesting_(nesting) {
    if (++nesting_ > kMaxSyntaxDepth) {
      --nesting_;
      throw_error(ErrorKind::limit,
                  "an expression is nested more than " + std::to_string(kMaxSyntaxDepth) + " deep",
                  in.current().line);
    }
  }
  ~Nesting() { --nesting_; }

 private:
  int& nesting_;
};
}  // namespace

ExpressionPtr ExpressionParser::expression(bool with_conditional) {
  const Nesting nesting(nesting_, in_);
  return with_conditional ? conditional() : disjunction();
}

ExpressionPtr ExpressionParser::conditional() {
  auto value = disjunction();
  while (in_.skip_name("if")) {
    auto condition = disjunction();
    ExpressionPtr other;
    if (in_.skip_name("else")) {
      const Nesting nesting(nesting_, in_);
      other = conditional();
    }
    value =
        node(ExpressionKind::conditional, operands(std::move(value), std::move(condition), std::move(other)));
  }
  return value;
}

ExpressionPtr ExpressionParser::disjunction() {
  auto left = conjunction();
  while (in_.skip_name("or")) {
    auto right = conjunction();
    left = node(ExpressionKind::logical_or, operands(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  auto left = negation();
  while (in_.skip_name("and")) {
    auto right = negation();
    left = node(ExpressionKind::logical_and, operands(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  if (!in_.skip_name("not")) return comparison();
  const Nesting nesting(nesting_, in_);
  return node(ExpressionKind::logical_not, operands(negation()));
}

ExpressionPtr ExpressionParser::comparison() {
  static constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  auto first = sum();
  std::vector<ExpressionPtr> values;
  std::vector<std::string> operators;
  while (true) {
    if (in_.current().kind == TokenKind::op && any_of(in_.current().text, kOperators)) {
      operators.push_back(in_.take().text);
    } else if (in_.skip_name("in")) {
      operators.push_back("in");
    } else if (in_.is_name("not") && in_.ahead().kind == TokenKind::name && in_.ahead().text == "in") {
      in_.take();
      in_.take();
      operators.push_back("not in");
    } else {
      break;
    }
    values.push_back(sum());
  }
  if (operators.empty()) return first;
  values.insert(values.begin(), std::move(first));
  auto made = node(ExpressionKind::compare, std::move(values));
  made->operators = std::move(operators);
  return made;
}

ExpressionPtr ExpressionParser::sum() {
  auto left = concatenation();
  while (in_.is_op("+") || in_.is_op("-")) {
    std::string op = in_.take().text;
    auto right = concatenation();
    left = node(ExpressionKind::binary, operands(std::move(left), std::move(right)), std::move(op));
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  auto first = product();
  if (!in_.is_op("~")) return first;
  std::vector<ExpressionPtr> parts = operands(std::move(first));
  while (in_.skip_op("~")) parts.push_back(product());
  return node(ExpressionKind::concat, std::move(parts));
}

ExpressionPtr ExpressionParser::product() {
  auto left = power();
  while (in_.is_op("*") || in_.is_op("/") || in_.is_op("//") || in_.is_op("%")) {
    std::string op = in_.take().text;
    auto right = power();
    left = node(ExpressionKind::binary, operands(std::move(left), std::move(right)), std::move(op));
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  auto left = unary();
  while (in_.skip_op("**")) {
    auto right = unary();
    left = node(ExpressionKind::binary, operands(std::move(left), std::move(right)), "**");
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filter) {
  const Nesting nesting(nesting_, in_);
  ExpressionPtr value;
  if (in_.skip_op("-")) {
    value = node(ExpressionKind::negate, operands(unary(false)));
  } else if (in_.skip_op("+")) {
    value = node(ExpressionKind::plus, operands(unary(false)));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filter ? filter_chain(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const Token token = in_.current();
  auto constant = [&](Value value) {
    in_.take();
    auto made = node(ExpressionKind::constant, {});
    made->line = token.line;
    made->constant = value;
    return made;
  };
  switch (token.kind) {
    case TokenKind::name: {
      if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
      if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      in_.take();
      const bool called = in_.is_op("(");
      if (called && any_of(token.text, std::array<std::string_view, 3>{"cycler", "joiner", "lipsum"})) {
        in_.refuse("the function '" + token.text + "'", token.line);
      }
      if (inside_macro && (token.text == "varargs" || token.text == "kwargs")) {
        in_.refuse("'" + token.text + "' of a macro", token.line);
      }
      return node(ExpressionKind::name, {}, token.text);
    }
    case TokenKind::text: {
      std::string text;
      while (in_.current().kind == TokenKind::text) text += in_.take().text;  // neighbours join, as in Python
      auto made = node(ExpressionKind::constant, {}, std::move(text));
      made->constant = Value::text(made->text);
      return made;
    }
    case TokenKind::integer: {
      std::int64_t number = 0;
      const auto parsed = std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
      if (parsed.ec != std::errc{})
        in_.refuse("the integer " + token.text + " (more than 64 bits)", token.line);
      return constant(Value::integer(number));
    }
    case TokenKind::real: {
      double number = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
      return constant(Value::real(number));
    }
    case TokenKind::op:
      if (token.text == "(") return parenthesised();
      if (token.text == "[") return list();
      if (token.text == "{") return dict();
      break;
    case TokenKind::data:
    case TokenKind::block_begin:
    case TokenKind::block_end:
    case TokenKind::print_begin:
    case TokenKind::print_end:
    case TokenKind::end:
      break;
  }
  in_.fail("unexpected " + described(token));
}

ExpressionPtr ExpressionParser::parenthesised() {
  in_.expect_op("(");
  if (in_.skip_op(")")) return node(ExpressionKind::tuple, {});
  auto value = tuple();
  in_.expect_op(")");
  return value;
}

ExpressionPtr ExpressionParser::tuple(bool with_conditional, std::string_view end_name) {
  std::vector<ExpressionPtr> values;
  bool comma = false;
  const auto at_end = [&] {
    const TokenKind kind = in_.current().kind;
    return kind == TokenKind::block_end || kind == TokenKind::print_end || in_.is_op(")") ||
           (!end_name.empty() && in_.is_name(end_name));
  };
  while (true) {
    values.push_back(expression(with_conditional));
    if (!in_.skip_op(",")) break;
    comma = true;
    if (at_end()) break;
  }
  if (!comma) return std::move(values.front());
  return node(ExpressionKind::tuple, std::move(values));
}

ExpressionPtr ExpressionParser::list() {
  in_.expect_op("[");
  std::vector<ExpressionPtr> values;
  while (!in_.is_op("]")) {
    values.push_back(expression());
    if (!in_.skip_op(",")) break;
  }
  in_.expect_op("]");
  return node(ExpressionKind::list, std::move(values));
}

ExpressionPtr ExpressionParser::dict() {
  in_.expect_op("{");
  std::vector<ExpressionPtr> values;
  while (!in_.is_op("}")) {
    values.push_back(expression());
    in_.expect_op(":");
    values.push_back(expression());
    if (!in_.skip_op(",")) break;
  }
  in_.expect_op("}");
  return node(ExpressionKind::dict, std::move(values));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr base) {
  while (true) {
    if (in_.is_op(".") || in_.is_op("[")) {
      base = subscript(std::move(base));
    } else if (in_.is_op("(")) {
      base = node(ExpressionKind::call, operands(std::move(base)));
      arguments(*base);
    } else {
      return base;
    }
  }
}

ExpressionPtr ExpressionParser::filter_chain(ExpressionPtr base) {
  while (true) {
    if (in_.is_op("|")) {
      in_.take();
      base = filter(std::move(base));
    } else if (in_.is_name("is")) {
      base = test(std::move(base));
    } else if (in_.is_op("(")) {
      base = node(ExpressionKind::call, operands(std::move(base)));
      arguments(*base);
    } else {
      return base;
    }
  }
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr input, bool leading) {
  if (leading) input = filter(std::move(input));
  while (in_.skip_op("|")) input = filter(std::move(input));
  return input;
}

ExpressionPtr ExpressionParser::postfix_call() {
  const int line = in_.current().line;
  auto value = expression();
  if (value->kind != ExpressionKind::call) throw_error(ErrorKind::syntax, "a call block needs a call", line);
  return value;
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr base) {
  if (in_.skip_op(".")) {
    const Token token = in_.current();
    if (token.kind == TokenKind::name) {
      in_.take();
      return node(ExpressionKind::attribute, operands(std::move(base)), token.text);
    }
    if (token.kind != TokenKind::integer) in_.fail("expected a name or a number after '.'");
    return node(ExpressionKind::subscript, operands(std::move(base), primary()));
  }
  in_.expect_op("[");
  std::vector<ExpressionPtr> parts;
  while (!in_.is_op("]")) {
    parts.push_back(subscript_argument());
    if (!in_.skip_op(",")) break;
  }
  in_.expect_op("]");
  if (parts.empty()) in_.fail("a subscript is empty");
  if (parts.size() > 1) in_.refuse("a subscript with a comma", in_.current().line);
  return node(ExpressionKind::subscript, operands(std::move(base), std::move(parts.front())));
}

ExpressionPtr ExpressionParser::subscript_argument() {
  const auto part_ends = [&] { return in_.is_op(":") || in_.is_op("]") || in_.is_op(","); };
  ExpressionPtr start, stop, step;
  if (!in_.is_op(":")) {
    start = expression();
    if (!in_.is_op(":")) return start;
  }
  in_.expect_op(":");
  if (!part_ends()) stop = expression();
  if (in_.skip_op(":") && !part_ends()) step = expression();
  return node(ExpressionKind::slice, operands(std::move(start), std::move(stop), std::move(step)));
}

std::string ExpressionParser::dotted_name() {
  std::string name = in_.expect_identifier();
  while (in_.skip_op(".")) name += "." + in_.expect_identifier();
  return name;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr input) {
  const int line = in_.current().line;
  const std::string name = dotted_name();
  const FilterFunction function = find_filter(name);
  if (function == nullptr) in_.refuse("the filter '" + name + "'", line);
  auto made = node(ExpressionKind::filter, operands(std::move(input)), name);
  made->line = line;
  made->filter = function;
  if (in_.is_op("(")) arguments(*made);
  return made;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr input) {
  in_.expect_name("is");
  const bool negated = in_.skip_name("not");
  const int line = in_.current().line;
  const std::string name = dotted_name();
  const TestFunction function = find_test(name);
  if (function == nullptr) in_.refuse("the test '" + name + "'", line);
  auto made = node(ExpressionKind::test, operands(std::move(input)), name);
  made->line = line;
  made->test = function;
  const Token next = in_.current();
  if (in_.is_op("(")) {
    arguments(*made);
  } else if ((next.kind == TokenKind::name && next.text != "else" && next.text != "or" &&
              next.text != "and") ||
             next.kind == TokenKind::text || next.kind == TokenKind::integer ||
             next.kind == TokenKind::real || in_.is_op("[") || in_.is_op("{")) {
    if (next.text == "is" && next.kind == TokenKind::name) in_.fail("tests cannot be chained with 'is'");
    made->operands.push_back(postfix(primary()));
    settle_depth(*made);
  }
  if (negated) return node(ExpressionKind::logical_not, operands(std::move(made)));
  return made;
}

void ExpressionParser::arguments(Expression& call) {
  in_.expect_op("(");
  while (!in_.is_op(")")) {
    if (in_.is_op("*") || in_.is_op("**"))
      in_.refuse("a call with '" + in_.current().text + "'", in_.current().line);
    if (in_.current().kind == TokenKind::name && in_.ahead().kind == TokenKind::op &&
        in_.ahead().text == "=") {
      std::string name = in_.take().text;
      in_.take();
      for (const auto& [known, value] : call.named) {
        if (known == name) in_.fail("the argument '" + name + "' is given twice");
      }
      call.named.emplace_back(std::move(name), expression());
    } else {
      if (!call.named.empty()) in_.fail("a positional argument follows a named one");
      call.operands.push_back(expression());
    }
    if (!in_.skip_op(",")) break;
  }
  in_.expect_op(")");
  settle_depth(call);
}

}  // namespace leadline::coordinator::jinja
