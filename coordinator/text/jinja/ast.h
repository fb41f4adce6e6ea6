#pragma once
// The syntax tree: one node type for expressions, one for statements, and which fields each kind uses. Not
// executable by itself. Filters and tests are resolved at parse, so an unknown one is an error at load.
// Thread: immutable after parse.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/value.h"

namespace leadline::coordinator::jinja {

class Runtime;
struct Arguments;
using FilterFunction = Value (*)(Runtime&, const Value& input, const Arguments&);
using TestFunction = bool (*)(Runtime&, const Value& input, const Arguments&);

enum class ExpressionKind : std::uint8_t {
  constant,     // constant (texts point into `text`)
  name,         // text
  list,         // operands
  tuple,        // operands
  dict,         // operands: key, value, key, value
  attribute,    // operands[0] . text
  subscript,    // operands[0] [ operands[1] ]
  slice,        // operands: start, stop, step (null: not given); only as a subscript's operand
  call,         // operands[0] ( operands[1..], named )
  filter,       // operands[0] | filter ( operands[1..], named ); operands[0] null inside a filter block
  test,         // operands[0] is test ( operands[1..], named )
  negate,       // - operands[0]
  plus,         // + operands[0]
  logical_not,  // not operands[0]
  logical_and,  // operands[0] and operands[1]
  logical_or,   // operands[0] or operands[1]
  binary,       // operands[0] text operands[1]: + - * / // % **
  concat,       // all operands, as text
  compare,      // operands[0] operators[0] operands[1] operators[1] ...
  conditional,  // operands[0] if operands[1] else operands[2] (null: undefined)
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  int line = 0;
  int depth = 1;  // of the tree below, at most kMaxSyntaxDepth
  std::string text;
  Value constant;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
  FilterFunction filter = nullptr;
  TestFunction test = nullptr;
};

enum class StatementKind : std::uint8_t {
  data,          // text
  print,         // value
  branches,      // arms: if, elif, else (condition null)
  loop,          // targets; value = what is iterated; condition = filter or null; body; other = else
  set,           // targets = value; or field: targets[0] . text = value
  set_block,     // targets[0] (or field); body; value = filter chain over it or null
  macro,         // text = name; parameters; body
  call_block,    // value = the call; parameters, body = caller
  filter_block,  // value = filter chain; body
  with,          // targets and values side by side; body
  scope,         // body with its own scope ({% generation %})
  break_loop,
  continue_loop,
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct Arm {
  ExpressionPtr condition;
  Block body;
};
struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: none
};

struct Statement {
  StatementKind kind = StatementKind::data;
  int line = 0;
  std::string text;
  ExpressionPtr value, condition;
  std::vector<std::string> targets;
  bool field = false;   // set ns.attr
  bool unpack = false;  // several targets, or one with a comma
  std::vector<ExpressionPtr> values;
  std::vector<Arm> arms;
  std::vector<Parameter> parameters;
  Block body, other;
};

}  // namespace leadline::coordinator::jinja
