#include "coordinator/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "coordinator/text/jinja/text_format.h"
#include "coordinator/text/jinja/value_text.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

[[noreturn]] void throw_operands(std::string_view op, const Value& a, const Value& b) {
  throw_runtime("unsupported operand type(s) for " + std::string(op) + ": '" + std::string(type_name(a)) +
                "' and '" + std::string(type_name(b)) + "'");
}
[[noreturn]] void throw_too_large() {
  throw_error(ErrorKind::limit, "an integer leaves 64 bits");
}

bool same_sequence_type(const Sequence& a, const Sequence& b) {
  return a.kind == b.kind &&
         (a.kind == SequenceKind::list || a.kind == SequenceKind::tuple || a.kind == SequenceKind::range);
}

}  // namespace

void throw_undefined(const Value& value) {
  throw_runtime(std::string(value.why()));
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.as_integer() != 0;
    case Kind::real:
      return value.as_real() != 0;
    case Kind::text:
      return !value.as_text().empty();
    case Kind::sequence:
      return value.sequence().kind == SequenceKind::generator || !value.sequence().items.empty();
    case Kind::dict:
      return !value.dict().entries.empty();
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      return true;
  }
  return false;
}

bool equals(Runtime& runtime, const Value& a, const Value& b, int depth) {
  if (depth > kMaxValueDepth) throw_error(ErrorKind::limit, "values are nested too deeply to be compared");
  runtime.charge(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_integer() == b.as_integer();
    return a.as_real() == b.as_real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return false;  // compared above
    case Kind::text:
      if (a.as_text().size() == b.as_text().size()) runtime.charge_bytes(a.as_text().size());
      return a.as_text() == b.as_text();
    case Kind::sequence: {
      if (a.identity() == b.identity()) return true;
      const Sequence &x = a.sequence(), &y = b.sequence();
      if (!same_sequence_type(x, y) || x.items.size() != y.items.size()) return false;
      for (std::size_t i = 0; i < x.items.size(); ++i) {
        if (!equals(runtime, x.items[i], y.items[i], depth + 1)) return false;
      }
      return true;
    }
    case Kind::dict: {
      if (a.identity() == b.identity()) return true;
      const Dict &x = a.dict(), &y = b.dict();
      if (x.entries.size() != y.entries.size()) return false;
      for (const auto& [key, value] : x.entries) {
        const Value* other = dict_find(runtime, y, key);
        if (other == nullptr || !equals(runtime, value, *other, depth + 1)) return false;
      }
      return true;
    }
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      return a.identity() == b.identity();
  }
  return false;
}

bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view op) {
  runtime.charge(1);
  require_defined(a);
  require_defined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_integer() < b.as_integer();
    return a.as_real() < b.as_real();
  }
  if (a.is(Kind::text) && b.is(Kind::text)) {
    runtime.charge_bytes(std::min(a.as_text().size(), b.as_text().size()));
    return a.as_text() < b.as_text();  // bytes of UTF-8 order as code points do
  }
  if (a.is(Kind::sequence) && b.is(Kind::sequence) && same_sequence_type(a.sequence(), b.sequence()) &&
      a.sequence().kind != SequenceKind::range) {
    const Runtime::Depth depth(runtime);
    const auto &x = a.sequence().items, &y = b.sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equals(runtime, x[i], y[i])) return less(runtime, x[i], y[i], op);
    }
    return x.size() < y.size();
  }
  throw_runtime("'" + std::string(op) + "' not supported between instances of '" + std::string(type_name(a)) +
                "' and '" + std::string(type_name(b)) + "'");
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::text:
      if (!item.is(Kind::text)) {
        require_defined(item);
        throw_runtime("'in <string>' requires string as left operand, not " + std::string(type_name(item)));
      }
      runtime.charge_bytes(container.as_text().size());
      return container.as_text().find(item.as_text()) != std::string_view::npos;
    case Kind::dict:
      return dict_find(runtime, container.dict(), item) != nullptr;
    case Kind::undefined:
      return false;  // iterates over nothing
    case Kind::sequence: {
      Sequence& sequence = container.sequence();
      for (std::size_t i = sequence.consumed; i < sequence.items.size(); ++i) {
        if (sequence.kind == SequenceKind::generator) sequence.consumed = i + 1;
        if (equals(runtime, sequence.items[i], item)) return true;
      }
      return false;
    }
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      break;
  }
  throw_runtime("argument of type '" + std::string(type_name(container)) + "' is not iterable");
}

namespace {

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (a == INT64_MIN && b == -1) throw_too_large();
  const std::int64_t quotient = a / b;
  return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}
std::int64_t floor_modulo(std::int64_t a, std::int64_t b) {
  if (b == -1) return 0;
  const std::int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}
std::int64_t multiply(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) throw_too_large();
  return result;
}
std::int64_t integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1) result = multiply(result, base);
    exponent >>= 1;
    if (exponent > 0) {
      if (base == 0 || base == 1) return result * base;
      base = multiply(base, base);
    }
  }
  return result;
}

Value integer_arithmetic(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) throw_too_large();
    return Value::integer(result);
  }
  if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) throw_too_large();
    return Value::integer(result);
  }
  if (op == "*") return Value::integer(multiply(a, b));
  if (op == "**") {
    if (b >= 0) return Value::integer(integer_power(a, b));
    if (a == 0) throw_runtime("0.0 cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  if (b == 0) throw_runtime(op == "/" ? "division by zero" : "integer division or modulo by zero");
  if (op == "/") return Value::real(static_cast<double>(a) / static_cast<double>(b));
  if (op == "//") return Value::integer(floor_divide(a, b));
  return Value::integer(floor_modulo(a, b));
}

Value real_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return Value::real(a + b);
  if (op == "-") return Value::real(a - b);
  if (op == "*") return Value::real(a * b);
  if (op == "**") {
    const double power = std::pow(a, b);
    if (std::isnan(power) && !std::isnan(a) && !std::isnan(b))
      throw_runtime("a complex number is not supported");
    return Value::real(power);
  }
  if (b == 0)
    throw_runtime(op == "/"    ? "float division by zero"
                  : op == "//" ? "float floor division by zero"
                               : "float modulo");
  if (op == "/") return Value::real(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == "%") return Value::real(remainder == 0 ? std::copysign(0.0, b) : remainder);
  return Value::real(std::round((a - remainder) / b));
}

Value repeated(Runtime& runtime, const Value& value, std::int64_t times) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  const auto limit = [&](std::size_t unit) {
    if (unit != 0 && count > kMaxArenaBytes / unit) {
      throw_error(ErrorKind::limit, "a repetition is too long");
    }
    runtime.charge_memory(unit * count);
  };
  if (value.is(Kind::text)) {
    const std::string_view text = value.as_text();
    limit(text.size());
    std::string out;
    out.reserve(text.size() * count);
    if (!text.empty()) {
      for (std::size_t i = 0; i < count; ++i) out += text;
    }
    return runtime.own(std::move(out));
  }
  const Sequence& sequence = value.sequence();
  limit(sequence.items.size() * sizeof(Value));
  std::vector<Value> items;
  if (!sequence.items.empty()) {
    for (std::size_t i = 0; i < count; ++i)
      items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return runtime.sequence(sequence.kind, std::move(items));
}

bool is_list_or_tuple(const Value& value) {
  return value.is(Kind::sequence) &&
         (value.sequence().kind == SequenceKind::list || value.sequence().kind == SequenceKind::tuple);
}

Value add(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is(Kind::text) && b.is(Kind::text)) {
    std::string out;
    out.reserve(a.as_text().size() + b.as_text().size());
    out += a.as_text();
    out += b.as_text();
    return runtime.own(std::move(out));
  }
  if (a.is(Kind::text)) {
    throw_runtime("can only concatenate str (not \"" + std::string(type_name(b)) + "\") to str");
  }
  if (is_list_or_tuple(a) && is_list_or_tuple(b) && a.sequence().kind == b.sequence().kind) {
    std::vector<Value> items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    return runtime.sequence(a.sequence().kind, std::move(items));
  }
  throw_operands("+", a, b);
}

}  // namespace

Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  require_defined(a);
  if (op == "%" && a.is(Kind::text)) return percent_format(runtime, a.as_text(), b);
  require_defined(b);
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(op, a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return real_arithmetic(op, a.as_real(), b.as_real());
  if (op == "+") return add(runtime, a, b);
  if (op == "*") {
    const bool left = a.is(Kind::text) || is_list_or_tuple(a),
               right = b.is(Kind::text) || is_list_or_tuple(b);
    if (left && b.is_integral()) return repeated(runtime, a, b.as_integer());
    if (right && a.is_integral()) return repeated(runtime, b, a.as_integer());
  }
  throw_operands(op == "**" ? "** or pow()" : op, a, b);
}

Value negated(const Value& value) {
  require_defined(value);
  if (value.is(Kind::real)) return Value::real(-value.as_real());
  if (value.is_integral()) return integer_arithmetic("-", 0, value.as_integer());
  throw_runtime("bad operand type for unary -: '" + std::string(type_name(value)) + "'");
}

bool is_iterable(const Value& value) {
  return value.is(Kind::undefined) || value.is(Kind::text) || value.is(Kind::sequence) ||
         value.is(Kind::dict);
}

std::vector<Value> iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      return items;
    case Kind::text: {
      const std::string_view text = value.as_text();
      runtime.charge_memory(text.size() * sizeof(Value));
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = utf8_step(text, i).length;
        items.push_back(Value::text(text.substr(i, length)));
        i += length;
      }
      return items;
    }
    case Kind::sequence: {
      Sequence& sequence = value.sequence();
      runtime.charge_memory((sequence.items.size() - sequence.consumed) * sizeof(Value));
      items.assign(sequence.items.begin() + static_cast<std::ptrdiff_t>(sequence.consumed),
                   sequence.items.end());
      if (sequence.kind == SequenceKind::generator) sequence.consumed = sequence.items.size();
      return items;
    }
    case Kind::dict:
      runtime.charge_memory(value.dict().entries.size() * sizeof(Value));
      for (const auto& entry : value.dict().entries) items.push_back(entry.first);
      return items;
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      break;
  }
  throw_runtime("'" + std::string(type_name(value)) + "' object is not iterable");
}

std::size_t length_of(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text: {
      const std::string_view text = value.as_text();
      runtime.charge_bytes(text.size());
      std::size_t count = 0;
      for (std::size_t i = 0; i < text.size(); ++count) i += utf8_step(text, i).length;
      return count;
    }
    case Kind::dict:
      return value.dict().entries.size();
    case Kind::loop:
      return value.loop().items->items.size();
    case Kind::sequence:
      if (value.sequence().kind != SequenceKind::generator) return value.sequence().items.size();
      break;
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
    case Kind::space:
    case Kind::callable:
      break;
  }
  throw_runtime("object of type '" + std::string(type_name(value)) + "' has no len()");
}

namespace {
void require_hashable(Runtime& runtime, const Value& key, int depth = 0) {
  if (depth > kMaxValueDepth) throw_error(ErrorKind::limit, "a key is nested too deeply");
  if (key.is(Kind::dict) || (key.is(Kind::sequence) && key.sequence().kind != SequenceKind::tuple)) {
    throw_runtime("unhashable type: '" + std::string(type_name(key)) + "'");
  }
  if (!key.is(Kind::sequence)) return;
  runtime.charge(key.sequence().items.size());
  for (const Value& item : key.sequence().items) require_hashable(runtime, item, depth + 1);
}
}  // namespace

const Value* dict_find(Runtime& runtime, const Dict& dict, const Value& key) {
  require_hashable(runtime, key);
  runtime.charge_items(dict.entries.size());
  for (const auto& [known, value] : dict.entries) {
    if (known.is(Kind::text) && key.is(Kind::text) ? known.as_text() == key.as_text()
                                                   : equals(runtime, known, key)) {
      return &value;
    }
  }
  return nullptr;
}

void dict_set(Runtime& runtime, Dict& dict, const Value& key, const Value& value) {
  if (const Value* known = dict_find(runtime, dict, key)) {
    *const_cast<Value*>(known) = value;
    return;
  }
  runtime.charge_memory(2 * sizeof(Value));
  dict.entries.emplace_back(key, value);
}

}  // namespace leadline::coordinator::jinja
