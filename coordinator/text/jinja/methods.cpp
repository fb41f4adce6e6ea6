#include "coordinator/text/jinja/methods.h"

#include <algorithm>
#include <array>

#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/value_text.h"
#include "monitoring/check.h"

namespace leadline::coordinator::jinja {
namespace {

template <std::size_t N>
bool any_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_list(const Value& self) {
  return self.is(Kind::sequence) &&
         (self.sequence().kind == SequenceKind::list || self.sequence().kind == SequenceKind::tuple ||
          self.sequence().kind == SequenceKind::range);
}

Value dict_view(Runtime& runtime, const Dict& dict, SequenceKind kind) {
  std::vector<Value> items;
  runtime.charge_memory(dict.entries.size() * sizeof(Value));
  for (const auto& [key, value] : dict.entries) {
    if (kind == SequenceKind::dict_items) {
      items.push_back(runtime.sequence(SequenceKind::tuple, {key, value}));
    } else {
      items.push_back(kind == SequenceKind::dict_keys ? key : value);
    }
  }
  return runtime.sequence(kind, std::move(items));
}

Value call_dict_method(Runtime& runtime, const Value& self, std::string_view name,
                       const Arguments& arguments) {
  const Dict& dict = self.dict();
  if (name == "get") {
    const Bound bound(arguments, name, {"key", "default"});
    const Value* found = dict_find(runtime, dict, bound.required(0));
    return found != nullptr ? *found : bound.or_else(1, Value::none());
  }
  const Bound bound(arguments, name, {});
  if (name == "items") return dict_view(runtime, dict, SequenceKind::dict_items);
  if (name == "keys") return dict_view(runtime, dict, SequenceKind::dict_keys);
  if (name == "values") return dict_view(runtime, dict, SequenceKind::dict_values);
  return self;  // copy: nothing can change either
}

Value call_list_method(Runtime& runtime, const Value& self, std::string_view name,
                       const Arguments& arguments) {
  if (name == "copy") return self;
  const Bound bound(arguments, name, {"value"});
  const auto& items = self.sequence().items;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!equals(runtime, items[i], bound.required(0))) continue;
    if (name == "index") return Value::integer(static_cast<std::int64_t>(i));
    ++count;
  }
  if (name == "count") return Value::integer(count);
  std::string shown;
  append_repr(runtime, bound.required(0), shown);
  throw_runtime(shown + " is not in list");
}

Value call_loop_method(Runtime& runtime, Loop& loop, std::string_view name, const Arguments& arguments) {
  if (name == "cycle") {
    if (arguments.positional.empty()) throw_runtime("no items for cycling given");
    return arguments.positional[loop.index0 % arguments.positional.size()];
  }
  bool same = loop.changed_called && loop.last_changed.size() == arguments.positional.size();
  for (std::size_t i = 0; same && i < loop.last_changed.size(); ++i) {
    same = equals(runtime, loop.last_changed[i], arguments.positional[i]);
  }
  loop.changed_called = true;
  loop.last_changed = arguments.positional;
  return Value::boolean(!same);
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  if (self.is(Kind::text)) return find_text_method(name) != nullptr;
  if (self.is(Kind::dict))
    return any_of(name, std::array<std::string_view, 5>{"get", "items", "keys", "values", "copy"});
  if (is_list(self)) {
    return name == "index" || name == "count" ||
           (name == "copy" && self.sequence().kind == SequenceKind::list);
  }
  return false;
}

bool is_mutating(const Value& self, std::string_view name) {
  if (self.is(Kind::dict)) {
    return any_of(name, std::array<std::string_view, 5>{"clear", "pop", "popitem", "setdefault", "update"});
  }
  return self.is(Kind::sequence) && self.sequence().kind == SequenceKind::list &&
         any_of(name, std::array<std::string_view, 8>{"append", "clear", "extend", "insert", "pop", "remove",
                                                      "reverse", "sort"});
}

Value bound_method(Runtime& runtime, const Value& self, std::string_view name) {
  auto* method = runtime.make<Callable>();
  method->type = Callable::Type::method;
  method->name = name;
  method->self = self;
  return Value::of(method);
}

Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments) {
  if (self.is(Kind::text)) {
    const TextMethod method = find_text_method(name);
    LEADLINE_CHECK(method != nullptr, "a bound method exists");
    runtime.charge_bytes(self.as_text().size());
    return method(runtime, self.as_text(), arguments);
  }
  if (self.is(Kind::dict)) return call_dict_method(runtime, self, name, arguments);
  if (self.is(Kind::loop)) return call_loop_method(runtime, self.loop(), name, arguments);
  return call_list_method(runtime, self, name, arguments);
}

}  // namespace leadline::coordinator::jinja
