#include "coordinator/text/jinja/interpreter.h"

#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/value_text.h"

namespace leadline::coordinator::jinja {

std::string Interpreter::run(const Block& block) {
  execute(block, root_);
  return std::move(output_);
}

Interpreter::Flow Interpreter::execute(const Block& block, Scope& scope) {
  for (const auto& statement : block) {
    const Flow flow = execute(*statement, scope);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement, Scope& scope) {
  line_ = statement.line;
  runtime_.charge(1);
  switch (statement.kind) {
    case StatementKind::data:
      print(Value::text(statement.text));
      return Flow::next;
    case StatementKind::print:
      print(evaluate(*statement.value, scope));
      return Flow::next;
    case StatementKind::branches:
      return branches(statement, scope);
    case StatementKind::loop:
      return loop(statement, scope);
    case StatementKind::set:
      set(statement, scope);
      return Flow::next;
    case StatementKind::set_block:
      set_block(statement, scope);
      return Flow::next;
    case StatementKind::macro: {
      auto* macro = runtime_.make<Callable>();
      macro->type = Callable::Type::macro;
      macro->name = statement.text;
      macro->macro = &statement;
      macro->scope = &scope;
      assign(scope, statement.text, Value::of(macro));
      return Flow::next;
    }
    case StatementKind::call_block:
      call_block(statement, scope);
      return Flow::next;
    case StatementKind::filter_block: {
      piped_ = captured(statement.body, *runtime_.make<Scope>(&scope));
      print(evaluate(*statement.value, scope));
      return Flow::next;
    }
    case StatementKind::with:
      return with(statement, scope);
    case StatementKind::scope:
      return execute(statement.body, *runtime_.make<Scope>(&scope));
    case StatementKind::break_loop:
      return Flow::break_loop;
    case StatementKind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::branches(const Statement& statement, Scope& scope) {
  for (const Arm& arm : statement.arms) {
    if (!arm.condition || truthy(evaluate(*arm.condition, scope))) return execute(arm.body, scope);
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::loop(const Statement& statement, Scope& scope) {
  const Runtime::Depth depth(runtime_);
  std::vector<Value> items = iterate(runtime_, evaluate(*statement.value, scope));
  if (statement.condition) {
    std::vector<Value> kept;
    for (const Value& item : items) {
      Scope& inner = *runtime_.make<Scope>(&scope);
      bind_targets(statement, item, inner);
      if (truthy(evaluate(*statement.condition, inner))) kept.push_back(item);
    }
    items = std::move(kept);
  }
  if (items.empty()) return execute(statement.other, *runtime_.make<Scope>(&scope));
  auto* state = runtime_.make<Loop>();
  state->items = &runtime_.list(std::move(items)).sequence();
  for (; state->index0 < state->items->items.size(); ++state->index0) {
    runtime_.charge(1);
    Scope& inner = *runtime_.make<Scope>(&scope);
    assign(inner, "loop", Value::of(state));
    bind_targets(statement, state->items->items[state->index0], inner);
    if (execute(statement.body, inner) == Flow::break_loop) break;
  }
  return Flow::next;
}

void Interpreter::assign(Scope& scope, std::string_view name, const Value& value) {
  for (auto& [known, held] : scope.names) {
    if (known == name) {
      held = value;
      return;
    }
  }
  scope.names.emplace_back(name, value);
}

void Interpreter::bind_targets(const Statement& statement, const Value& value, Scope& scope) {
  if (!statement.unpack) return assign(scope, statement.targets.front(), value);
  require_defined(value);
  const auto items = iterate(runtime_, value);
  if (items.size() != statement.targets.size()) {
    throw_runtime((items.size() < statement.targets.size() ? "not enough" : "too many") +
                  std::string(" values to unpack (expected ") + std::to_string(statement.targets.size()) +
                  ", got " + std::to_string(items.size()) + ")");
  }
  for (std::size_t i = 0; i < items.size(); ++i) assign(scope, statement.targets[i], items[i]);
}

void Interpreter::set_field(const Statement& statement, const Value& value, Scope& scope) {
  const Value target = lookup(statement.targets.front(), scope);
  if (!target.is(Kind::space)) throw_runtime("cannot assign attribute on non-namespace object");
  for (auto& [field, held] : target.space().fields) {
    if (field == statement.text) {
      held = value;
      return;
    }
  }
  runtime_.charge_memory(sizeof(Value));
  target.space().fields.emplace_back(statement.text, value);
}

void Interpreter::set(const Statement& statement, Scope& scope) {
  const Value value = evaluate(*statement.value, scope);
  statement.field ? set_field(statement, value, scope) : bind_targets(statement, value, scope);
}

void Interpreter::set_block(const Statement& statement, Scope& scope) {
  Value value = captured(statement.body, *runtime_.make<Scope>(&scope));
  if (statement.value) {
    piped_ = value;
    value = evaluate(*statement.value, scope);
  }
  statement.field ? set_field(statement, value, scope) : assign(scope, statement.targets.front(), value);
}

Interpreter::Flow Interpreter::with(const Statement& statement, Scope& scope) {
  Scope& inner = *runtime_.make<Scope>(&scope);
  // All values are those of the outer scope.
  for (std::size_t i = 0; i < statement.targets.size(); ++i) {
    assign(inner, statement.targets[i], evaluate(*statement.values[i], scope));
  }
  return execute(statement.body, inner);
}

void Interpreter::call_block(const Statement& statement, Scope& scope) {
  auto* caller = runtime_.make<Callable>();
  caller->type = Callable::Type::macro;
  caller->name = statement.text;
  caller->macro = &statement;
  caller->scope = &scope;
  const Value value = Value::of(caller);
  print(call(*statement.value, scope, &value));
}

Value Interpreter::captured(const Block& block, Scope& scope) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  try {
    execute(block, scope);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  return runtime_.own(std::move(text));
}

void Interpreter::print(const Value& value) {
  if (value.is(Kind::text)) {
    runtime_.charge_bytes(value.as_text().size());
    if (out_->size() + value.as_text().size() > kMaxOutputBytes) {
      throw_error(ErrorKind::limit,
                  "the chat template writes more than " + std::to_string(kMaxOutputBytes) + " bytes");
    }
  }
  append_text(runtime_, value, *out_);
}

}  // namespace leadline::coordinator::jinja
