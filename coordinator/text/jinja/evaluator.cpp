// The expressions of the Interpreter.
#include <algorithm>

#include "coordinator/text/jinja/access.h"
#include "coordinator/text/jinja/interpreter.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/value_text.h"

namespace leadline::coordinator::jinja {

Value Interpreter::evaluate(const Expression& expression, Scope& scope) {
  const Runtime::Depth depth(runtime_);
  runtime_.charge(1);
  line_ = expression.line;
  const auto operand = [&](std::size_t i) { return evaluate(*expression.operands[i], scope); };
  switch (expression.kind) {
    case ExpressionKind::constant:
      return expression.constant;
    case ExpressionKind::name:
      return lookup(expression.text, scope);
    case ExpressionKind::list:
    case ExpressionKind::tuple:
    case ExpressionKind::dict:
      return literal(expression, scope);
    case ExpressionKind::attribute:
      return get_attribute(runtime_, operand(0), expression.text);
    case ExpressionKind::subscript:
      return subscript(expression, scope);
    case ExpressionKind::slice:
      throw_runtime("a slice outside of a subscript");
    case ExpressionKind::call:
      return call(expression, scope, nullptr);
    case ExpressionKind::filter:
    case ExpressionKind::test:
      return filter(expression, scope);
    case ExpressionKind::negate:
      return negated(operand(0));
    case ExpressionKind::plus: {
      const Value value = operand(0);
      require_defined(value);
      if (!value.is_number())
        throw_runtime("bad operand type for unary +: '" + std::string(type_name(value)) + "'");
      return value.is(Kind::boolean) ? Value::integer(value.as_integer()) : value;
    }
    case ExpressionKind::logical_not:
      return Value::boolean(!truthy(operand(0)));
    case ExpressionKind::logical_and: {
      const Value left = operand(0);
      return truthy(left) ? operand(1) : left;
    }
    case ExpressionKind::logical_or: {
      const Value left = operand(0);
      return truthy(left) ? left : operand(1);
    }
    case ExpressionKind::binary: {
      const Value left = operand(0), right = operand(1);
      return binary(runtime_, expression.text, left, right);
    }
    case ExpressionKind::concat:
      return concat(expression, scope);
    case ExpressionKind::compare:
      return compare(expression, scope);
    case ExpressionKind::conditional:
      if (truthy(operand(1))) return operand(0);
      if (expression.operands[2]) return operand(2);
      return Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
  }
  return Value();
}

Value Interpreter::lookup(std::string_view name, Scope& scope) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    runtime_.charge_items(at->names.size());
    for (const auto& [known, value] : at->names) {
      if (known == name) return value;
    }
  }
  if (is_global(name)) {
    auto* function = runtime_.make<Callable>();
    function->name = name;
    return Value::of(function);
  }
  return runtime_.undefined("'" + std::string(name) + "' is undefined");
}

Value Interpreter::literal(const Expression& expression, Scope& scope) {
  if (expression.kind == ExpressionKind::dict) {
    auto* dict = runtime_.make<Dict>();
    for (std::size_t i = 0; i + 1 < expression.operands.size(); i += 2) {
      const Value key = evaluate(*expression.operands[i], scope);
      dict_set(runtime_, *dict, key, evaluate(*expression.operands[i + 1], scope));
    }
    return Value::of(dict);
  }
  std::vector<Value> items;
  items.reserve(expression.operands.size());
  for (const auto& operand : expression.operands) items.push_back(evaluate(*operand, scope));
  return runtime_.sequence(expression.kind == ExpressionKind::list ? SequenceKind::list : SequenceKind::tuple,
                           std::move(items));
}

Value Interpreter::subscript(const Expression& expression, Scope& scope) {
  const Value base = evaluate(*expression.operands[0], scope);
  const Expression& key = *expression.operands[1];
  if (key.kind != ExpressionKind::slice) return get_item(runtime_, base, evaluate(key, scope));
  const auto part = [&](std::size_t i) {
    return key.operands[i] ? evaluate(*key.operands[i], scope) : Value::none();
  };
  const Value start = part(0), stop = part(1), step = part(2);
  return get_slice(runtime_, base, start, stop, step);
}

Value Interpreter::compare(const Expression& expression, Scope& scope) {
  Value left = evaluate(*expression.operands[0], scope);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = evaluate(*expression.operands[i + 1], scope);
    const std::string& op = expression.operators[i];
    bool holds = false;
    if (op == "==") holds = equals(runtime_, left, right);
    if (op == "!=") holds = !equals(runtime_, left, right);
    if (op == "<") holds = less(runtime_, left, right);
    if (op == ">") holds = less(runtime_, right, left, op);
    if (op == "<=") holds = less(runtime_, left, right, op) || equals(runtime_, left, right);
    if (op == ">=") holds = less(runtime_, right, left, op) || equals(runtime_, left, right);
    if (op == "in") holds = contains(runtime_, right, left);
    if (op == "not in") holds = !contains(runtime_, right, left);
    if (!holds) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Value Interpreter::concat(const Expression& expression, Scope& scope) {
  std::string out;
  for (const auto& operand : expression.operands) {
    append_text(runtime_, evaluate(*operand, scope), out);
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a concatenation is too long");
  }
  return runtime_.own(std::move(out));
}

Value Interpreter::filter(const Expression& expression, Scope& scope) {
  const Value input = expression.operands[0] ? evaluate(*expression.operands[0], scope) : piped_;
  const Arguments given = arguments(expression, scope);
  line_ = expression.line;
  if (expression.kind == ExpressionKind::test) return Value::boolean(expression.test(runtime_, input, given));
  return expression.filter(runtime_, input, given);
}

Arguments Interpreter::arguments(const Expression& expression, Scope& scope) {
  Arguments given;
  for (std::size_t i = 1; i < expression.operands.size(); ++i) {
    given.positional.push_back(evaluate(*expression.operands[i], scope));
  }
  for (const auto& [name, value] : expression.named) given.named.emplace_back(name, evaluate(*value, scope));
  return given;
}

Value Interpreter::call(const Expression& expression, Scope& scope, const Value* caller) {
  const Value callee = evaluate(*expression.operands[0], scope);
  if (callee.is_undefined()) throw_undefined(callee);
  if (!callee.is(Kind::callable))
    throw_runtime("'" + std::string(type_name(callee)) + "' object is not callable");
  Arguments given = arguments(expression, scope);
  if (caller != nullptr) given.named.emplace_back("caller", *caller);
  line_ = expression.line;
  const Callable& callable = callee.callable();
  switch (callable.type) {
    case Callable::Type::macro: {
      const Value result = call_macro(callable, given);
      line_ = expression.line;
      return result;
    }
    case Callable::Type::method:
      return call_method(runtime_, callable.self, callable.name, given);
    case Callable::Type::global:
      return call_global_function(runtime_, callable.name, given);
  }
  return Value();
}

Value Interpreter::call_macro(const Callable& macro, const Arguments& given) {
  const Runtime::Depth depth(runtime_);
  const auto& parameters = macro.macro->parameters;
  const std::string name(macro.name);
  if (given.positional.size() > parameters.size()) {
    throw_runtime("macro '" + name + "' takes not more than " + std::to_string(parameters.size()) +
                  " argument(s)");
  }
  Scope& scope = *runtime_.make<Scope>(macro.scope);
  std::vector<const Value*> values(parameters.size(), nullptr);
  for (std::size_t i = 0; i < given.positional.size(); ++i) values[i] = &given.positional[i];
  for (const auto& [key, value] : given.named) {
    const auto known =
        std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == key; });
    if (known != parameters.end() &&
        values[static_cast<std::size_t>(known - parameters.begin())] == nullptr) {
      values[static_cast<std::size_t>(known - parameters.begin())] = &value;
    } else if (key == "caller") {
      assign(scope, "caller", value);
    } else {
      throw_runtime("macro '" + name + "' takes no keyword argument '" + std::string(key) + "'");
    }
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Value value;
    if (values[i] != nullptr) {
      value = *values[i];
    } else if (parameters[i].fallback) {
      value = evaluate(*parameters[i].fallback, scope);
    } else {
      value = runtime_.undefined("parameter '" + parameters[i].name + "' was not provided");
    }
    assign(scope, parameters[i].name, value);
  }
  return captured(macro.macro->body, scope);
}

}  // namespace leadline::coordinator::jinja
