#include "coordinator/text/jinja/access.h"

#include <algorithm>
#include <array>

#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/value_text.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

std::optional<Value> loop_attribute(Runtime& runtime, Loop& loop, std::string_view name) {
  const auto& items = loop.items->items;
  const auto integer = [](std::size_t v) { return Value::integer(static_cast<std::int64_t>(v)); };
  if (name == "index") return integer(loop.index0 + 1);
  if (name == "index0") return integer(loop.index0);
  if (name == "revindex") return integer(items.size() - loop.index0);
  if (name == "revindex0") return integer(items.size() - loop.index0 - 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.index0 + 1 == items.size());
  if (name == "length") return integer(items.size());
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "previtem") {
    return loop.index0 > 0 ? items[loop.index0 - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return loop.index0 + 1 < items.size() ? items[loop.index0 + 1]
                                          : Value::undefined("there is no next item");
  }
  if (name == "cycle" || name == "changed") return bound_method(runtime, Value::of(&loop), name);
  return std::nullopt;
}

// The type's own attribute, if it has one.
std::optional<Value> own_attribute(Runtime& runtime, const Value& base, std::string_view name) {
  switch (base.kind()) {
    case Kind::space:
      for (const auto& [field, value] : base.space().fields) {
        if (field == name) return value;
      }
      return std::nullopt;
    case Kind::loop:
      return loop_attribute(runtime, base.loop(), name);
    case Kind::callable:
      if (base.callable().type == Callable::Type::macro && name == "name")
        return Value::text(base.callable().name);
      return std::nullopt;
    case Kind::text:
    case Kind::sequence:
    case Kind::dict:
      if (has_method(base, name)) return bound_method(runtime, base, name);
      if (is_mutating(base, name)) {
        return runtime.undefined("access to attribute " + quoted(name) + " of " + quoted(type_name(base)) +
                                 " object is unsafe.");
      }
      return std::nullopt;
    case Kind::undefined:
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      break;
  }
  return std::nullopt;
}

std::optional<Value> own_item(Runtime& runtime, const Value& base, const Value& key) {
  const auto index_into = [&](std::size_t size) -> std::optional<std::size_t> {
    if (!key.is_integral()) return std::nullopt;
    std::int64_t index = key.as_integer();
    if (index < 0) index += static_cast<std::int64_t>(size);
    if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
    return static_cast<std::size_t>(index);
  };
  if (base.is(Kind::dict)) {
    if (key.is(Kind::dict) || (key.is(Kind::sequence) && key.sequence().kind != SequenceKind::tuple))
      return std::nullopt;
    const Value* found = dict_find(runtime, base.dict(), key);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (base.is(Kind::sequence)) {
    const Sequence& sequence = base.sequence();
    if (sequence.kind != SequenceKind::list && sequence.kind != SequenceKind::tuple &&
        sequence.kind != SequenceKind::range) {
      return std::nullopt;
    }
    const auto index = index_into(sequence.items.size());
    return index ? std::optional<Value>(sequence.items[*index]) : std::nullopt;
  }
  if (base.is(Kind::text) && key.is_integral()) {
    const auto index = index_into(length_of(runtime, base));
    if (!index) return std::nullopt;
    std::size_t offset = 0;
    const std::string_view text = base.as_text();
    for (std::size_t i = 0; i < *index; ++i) offset += utf8_step(text, offset).length;
    return Value::text(text.substr(offset, utf8_step(text, offset).length));
  }
  return std::nullopt;
}

std::string object_name(const Value& base) {
  return base.is(Kind::none) ? "None" : std::string(type_name(base)) + " object";
}

Value missing_attribute(Runtime& runtime, const Value& base, std::string_view name) {
  return runtime.undefined(quoted(object_name(base)) + " has no attribute " + quoted(name));
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& base, std::string_view name) {
  require_defined(base);
  if (auto own = own_attribute(runtime, base, name)) return *own;
  if (auto item = own_item(runtime, base, Value::text(name))) return *item;
  if (name.starts_with("__")) {
    return runtime.undefined("access to attribute " + quoted(name) + " of " + quoted(type_name(base)) +
                             " object is unsafe.");
  }
  return missing_attribute(runtime, base, name);
}

Value get_item(Runtime& runtime, const Value& base, const Value& key) {
  require_defined(base);
  if (auto item = own_item(runtime, base, key)) return *item;
  if (key.is(Kind::text)) {
    if (auto own = own_attribute(runtime, base, key.as_text())) return *own;
    return missing_attribute(runtime, base, key.as_text());
  }
  std::string shown;
  append_repr(runtime, key, shown);
  return runtime.undefined(object_name(base) + " has no element " + shown);
}

namespace {

struct Range {
  std::int64_t start, stop, step;
};

// Python's slice.indices.
Range resolve(const Value& start, const Value& stop, const Value& step, std::int64_t size) {
  const auto bound = [](const Value& value) {
    require_defined(value);
    if (!value.is(Kind::none) && !value.is_integral()) {
      throw_runtime("slice indices must be integers or None or have an __index__ method");
    }
  };
  bound(start);
  bound(stop);
  bound(step);
  Range range{0, size, step.is(Kind::none) ? 1 : step.as_integer()};
  if (range.step == 0) throw_runtime("slice step cannot be zero");
  const bool down = range.step < 0;
  const auto clamp = [&](const Value& value, std::int64_t fallback) {
    if (value.is(Kind::none)) return fallback;
    std::int64_t v = value.as_integer();
    if (v < 0) v = v < -size ? -1 : v + size;
    const std::int64_t low = down ? -1 : 0, high = down ? size - 1 : size;
    return std::clamp(v, low, std::max(low, high));
  };
  range.start = clamp(start, down ? size - 1 : 0);
  range.stop = clamp(stop, down ? -1 : size);
  return range;
}

template <typename Take>
void walk(const Range& range, std::int64_t size, Take take) {
  // A step beyond the size takes one item at most; cutting it there keeps the sum from overflowing.
  const std::int64_t step = std::clamp(range.step, -size - 1, size + 1);
  for (std::int64_t i = range.start; step > 0 ? i < range.stop : i > range.stop; i += step) {
    take(static_cast<std::size_t>(i));
  }
}

Value slice_text(Runtime& runtime, std::string_view text, const Value& start, const Value& stop,
                 const Value& step) {
  const auto size = static_cast<std::int64_t>(length_of(runtime, Value::text(text)));
  const Range range = resolve(start, stop, step, size);
  runtime.charge_bytes(text.size());
  if (range.step == 1) {
    if (range.start >= range.stop) return Value::text("");
    std::size_t offset = 0;
    for (std::int64_t i = 0; i < range.start; ++i) offset += utf8_step(text, offset).length;
    std::size_t end = offset;
    for (std::int64_t i = range.start; i < range.stop; ++i) end += utf8_step(text, end).length;
    return Value::text(text.substr(offset, end - offset));
  }
  runtime.charge_memory(text.size() * sizeof(std::string_view));
  std::vector<std::string_view> points;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_step(text, i).length;
    points.push_back(text.substr(i, length));
    i += length;
  }
  std::string out;
  walk(range, size, [&](std::size_t i) { out += points[i]; });
  return runtime.own(std::move(out));
}

}  // namespace

Value get_slice(Runtime& runtime, const Value& base, const Value& start, const Value& stop,
                const Value& step) {
  require_defined(base);
  if (base.is(Kind::text)) return slice_text(runtime, base.as_text(), start, stop, step);
  const bool sliced = base.is(Kind::sequence) && (base.sequence().kind == SequenceKind::list ||
                                                  base.sequence().kind == SequenceKind::tuple ||
                                                  base.sequence().kind == SequenceKind::range);
  if (base.is(Kind::dict)) throw_runtime("unhashable type: 'slice'");
  if (!sliced) throw_runtime("'" + std::string(type_name(base)) + "' object is not subscriptable");
  const Sequence& sequence = base.sequence();
  const auto size = static_cast<std::int64_t>(sequence.items.size());
  const Range range = resolve(start, stop, step, size);
  std::vector<Value> items;
  walk(range, size, [&](std::size_t i) { items.push_back(sequence.items[i]); });
  return runtime.sequence(sequence.kind == SequenceKind::range ? SequenceKind::list : sequence.kind,
                          std::move(items));
}

}  // namespace leadline::coordinator::jinja
