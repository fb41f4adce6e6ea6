#pragma once
// Interpreter: runs a parsed template once over variables. Not a parser; it trusts the tree. Owns its
// Runtime. Thread: one rendering, one thread. Throws TemplateError (runtime, raised, unsupported, limit).

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

struct Scope : Object {
  explicit Scope(Scope* up) : parent(up) {}
  Scope* parent;  // where a name that is not here is looked up; null at the root
  std::vector<std::pair<std::string_view, Value>> names;
};

class Interpreter {
 public:
  explicit Interpreter(std::int64_t now_unix_s) : runtime_(now_unix_s), root_(nullptr) {}
  Runtime& runtime() { return runtime_; }
  void set_variable(std::string_view name, const Value& value) { assign(root_, name, value); }
  // REQUIRES: `block` outlives the call. At most once.
  std::string run(const Block& block);
  int line() const { return line_; }  // of the statement or expression that was running

 private:
  enum class Flow { next, break_loop, continue_loop };

  // statements (interpreter.cpp)
  Flow execute(const Block& block, Scope& scope);
  Flow execute(const Statement& statement, Scope& scope);
  Flow branches(const Statement& statement, Scope& scope);
  Flow loop(const Statement& statement, Scope& scope);
  void set(const Statement& statement, Scope& scope);
  void set_block(const Statement& statement, Scope& scope);
  Flow with(const Statement& statement, Scope& scope);
  void call_block(const Statement& statement, Scope& scope);
  void bind_targets(const Statement& statement, const Value& value, Scope& scope);
  void set_field(const Statement& statement, const Value& value, Scope& scope);
  static void assign(Scope& scope, std::string_view name, const Value& value);
  Value captured(const Block& block, Scope& scope);
  void print(const Value& value);

  // expressions (evaluator.cpp)
  Value evaluate(const Expression& expression, Scope& scope);
  Value lookup(std::string_view name, Scope& scope);
  Value literal(const Expression& expression, Scope& scope);
  Value subscript(const Expression& expression, Scope& scope);
  Value compare(const Expression& expression, Scope& scope);
  Value concat(const Expression& expression, Scope& scope);
  Value filter(const Expression& expression, Scope& scope);
  Value call(const Expression& expression, Scope& scope, const Value* caller);
  Arguments arguments(const Expression& expression, Scope& scope);
  Value call_macro(const Callable& macro, const Arguments& arguments);

  Runtime runtime_;
  Scope root_;
  std::string output_;
  std::string* out_ = &output_;  // where print writes: the output, or a macro's or block's text
  Value piped_;                  // what a filter block's first filter takes
  int line_ = 0;
};

// Globals: range, dict, namespace, raise_exception, strftime_now.
bool is_global(std::string_view name);
Value call_global_function(Runtime& runtime, std::string_view name, const Arguments& arguments);

}  // namespace leadline::coordinator::jinja
