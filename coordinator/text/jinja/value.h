#pragma once
// Value: one Jinja value, 24 bytes, trivially copied; what it points at belongs to the rendering's Arena, to
// the template or to the request's JSON, all of which outlive it. Not a Python object: nothing but a
// Namespace can change. Thread: one rendering.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leadline::coordinator::jinja {

enum class Kind : std::uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  sequence,
  dict,
  space,
  callable,
  loop
};

struct Sequence;
struct Dict;
struct Namespace;
struct Callable;
struct Loop;

class Value {
 public:
  Value() : chars_("a value is undefined"), size_(20) {}
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool v) { return Value(Kind::boolean, static_cast<std::int64_t>(v)); }
  static Value integer(std::int64_t v) { return Value(Kind::integer, v); }
  static Value real(double v) {
    Value value(Kind::real);
    value.real_ = v;
    return value;
  }
  static Value text(std::string_view v) { return Value(Kind::text, v); }  // borrows
  static Value undefined(std::string_view why) {
    return Value(Kind::undefined, why);
  }  // borrows; `why` is a sentence
  static Value of(Sequence* v) { return Value(Kind::sequence, v); }
  static Value of(Dict* v) { return Value(Kind::dict, v); }
  static Value of(Namespace* v) { return Value(Kind::space, v); }
  static Value of(Callable* v) { return Value(Kind::callable, v); }
  static Value of(Loop* v) { return Value(Kind::loop, v); }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_number() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real; }
  bool is_integral() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }

  // REQUIRES: the kind that the name says (as_integer also takes a boolean, as_real any number).
  bool as_boolean() const { return integer_ != 0; }
  std::int64_t as_integer() const { return integer_; }
  double as_real() const { return kind_ == Kind::real ? real_ : static_cast<double>(integer_); }
  std::string_view as_text() const { return {chars_, size_}; }
  std::string_view why() const { return {chars_, size_}; }
  Sequence& sequence() const { return *static_cast<Sequence*>(object_); }
  Dict& dict() const { return *static_cast<Dict*>(object_); }
  Namespace& space() const { return *static_cast<Namespace*>(object_); }
  Callable& callable() const { return *static_cast<Callable*>(object_); }
  Loop& loop() const { return *static_cast<Loop*>(object_); }
  const void* identity() const { return object_; }

 private:
  explicit Value(Kind kind) : kind_(kind), integer_(0) {}
  Value(Kind kind, std::int64_t v) : kind_(kind), integer_(v) {}
  Value(Kind kind, std::string_view v) : kind_(kind), chars_(v.data()), size_(v.size()) {}
  Value(Kind kind, void* v) : kind_(kind), object_(v) {}

  Kind kind_ = Kind::undefined;
  union {
    std::int64_t integer_;
    double real_;
    const char* chars_;
    void* object_;
  };
  std::size_t size_ = 0;
};

// Everything that a rendering owns.
struct Object {
  virtual ~Object() = default;
};

enum class SequenceKind : std::uint8_t { list, tuple, range, generator, dict_keys, dict_values, dict_items };

struct Sequence : Object {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> items;
  std::size_t consumed = 0;  // generator: items before it are gone
  std::string_view shown;    // range: how repr writes it
};

struct Dict : Object {
  std::vector<std::pair<Value, Value>> entries;  // in the order of insertion; keys unique
};

struct Namespace : Object {
  std::vector<std::pair<std::string_view, Value>> fields;
};

struct Statement;
struct Scope;

// A macro, a call block's `caller`, a bound method, or a global function.
struct Callable : Object {
  enum class Type : std::uint8_t { macro, method, global } type = Type::global;
  std::string_view name;
  const Statement* macro = nullptr;  // macro and caller: parameters and body
  Scope* scope = nullptr;            // where it was defined
  Value self;                        // method
};

struct Loop : Object {
  const Sequence* items = nullptr;
  std::size_t index0 = 0;
  int depth0 = 0;
  std::vector<Value> last_changed;
  bool changed_called = false;
};

}  // namespace leadline::coordinator::jinja
