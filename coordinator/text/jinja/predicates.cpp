#include "coordinator/text/jinja/predicates.h"

#include <array>

#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/text_cut.h"

namespace leadline::coordinator::jinja {
namespace {

void none_given(const Arguments& arguments) {
  const Bound bound(arguments, "test", {});
}
const Value& other(const Arguments& arguments) {
  return Bound(arguments, "test", {"other"}).required(0);
}

bool defined(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), !v.is_undefined();
}
bool undefined(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), v.is_undefined();
}
bool none(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), v.is(Kind::none);
}
bool boolean(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), v.is(Kind::boolean);
}
bool is_true(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::boolean) && v.as_boolean();
}
bool is_false(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::boolean) && !v.as_boolean();
}
bool integer(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::integer);
}
bool real(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::real);
}
bool number(Runtime&, const Value& v, const Arguments&) {
  return v.is_number();
}
bool string(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), v.is(Kind::text);
}
bool mapping(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), v.is(Kind::dict);
}
bool iterable(Runtime&, const Value& v, const Arguments& a) {
  return none_given(a), is_iterable(v) || v.is(Kind::loop);
}
bool sequence(Runtime&, const Value& v, const Arguments& a) {
  none_given(a);
  if (v.is(Kind::sequence)) {
    const SequenceKind kind = v.sequence().kind;
    return kind == SequenceKind::list || kind == SequenceKind::tuple || kind == SequenceKind::range;
  }
  return v.is(Kind::text) || v.is(Kind::dict) || v.is_undefined();
}
bool callable(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::callable);
}

bool equal(Runtime& r, const Value& v, const Arguments& a) {
  return equals(r, v, other(a));
}
bool unequal(Runtime& r, const Value& v, const Arguments& a) {
  return !equals(r, v, other(a));
}
bool below(Runtime& r, const Value& v, const Arguments& a) {
  return less(r, v, other(a));
}
bool above(Runtime& r, const Value& v, const Arguments& a) {
  return less(r, other(a), v, ">");
}
bool at_most(Runtime& r, const Value& v, const Arguments& a) {
  return less(r, v, other(a), "<=") || equals(r, v, other(a));
}
bool at_least(Runtime& r, const Value& v, const Arguments& a) {
  return less(r, other(a), v, ">=") || equals(r, v, other(a));
}
bool in(Runtime& r, const Value& v, const Arguments& a) {
  return contains(r, other(a), v);
}
bool same_as(Runtime& r, const Value& v, const Arguments& a) {
  const Value& b = other(a);
  if (v.kind() != b.kind()) return false;
  if (v.is(Kind::sequence) || v.is(Kind::dict) || v.is(Kind::space) || v.is(Kind::callable) ||
      v.is(Kind::loop)) {
    return v.identity() == b.identity();
  }
  return equals(r, v, b);
}

bool remainder_is(Runtime& r, const Value& v, std::int64_t divisor, std::int64_t wanted) {
  return equals(r, binary(r, "%", v, Value::integer(divisor)), Value::integer(wanted));
}
bool odd(Runtime& r, const Value& v, const Arguments&) {
  return remainder_is(r, v, 2, 1);
}
bool even(Runtime& r, const Value& v, const Arguments&) {
  return remainder_is(r, v, 2, 0);
}
bool divisible_by(Runtime& r, const Value& v, const Arguments& a) {
  return equals(r, binary(r, "%", v, other(a)), Value::integer(0));
}
bool upper(Runtime& r, const Value& v, const Arguments&) {
  return is_upper_text(text_of(r, v).as_text());
}
bool lower(Runtime& r, const Value& v, const Arguments&) {
  return is_lower_text(text_of(r, v).as_text());
}
bool filter(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::text) && find_filter(v.as_text()) != nullptr;
}
bool test(Runtime&, const Value& v, const Arguments&) {
  return v.is(Kind::text) && find_test(v.as_text()) != nullptr;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, TestFunction>, 38> kTests = {{
      {"defined", defined},   {"undefined", undefined},
      {"none", none},         {"boolean", boolean},
      {"true", is_true},      {"false", is_false},
      {"integer", integer},   {"float", real},
      {"number", number},     {"string", string},
      {"mapping", mapping},   {"iterable", iterable},
      {"sequence", sequence}, {"callable", callable},
      {"eq", equal},          {"equalto", equal},
      {"==", equal},          {"ne", unequal},
      {"!=", unequal},        {"lt", below},
      {"lessthan", below},    {"<", below},
      {"gt", above},          {"greaterthan", above},
      {">", above},           {"le", at_most},
      {"<=", at_most},        {"ge", at_least},
      {">=", at_least},       {"in", in},
      {"sameas", same_as},    {"odd", odd},
      {"even", even},         {"divisibleby", divisible_by},
      {"upper", upper},       {"lower", lower},
      {"filter", filter},     {"test", test},
  }};
  for (const auto& [known, function] : kTests) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace leadline::coordinator::jinja
