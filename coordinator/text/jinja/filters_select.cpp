// Filters that choose, order or change items one by one: map, select, reject, sort, unique, min, max,
// dictsort.
#include <algorithm>
#include <array>
#include <charconv>

#include "coordinator/text/jinja/access.h"
#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/predicates.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/jinja/text_cut.h"

namespace leadline::coordinator::jinja {

Value attribute_path(Runtime& runtime, const Value& item, const Value& path, const Value* fallback) {
  if (path.is_integral()) return get_item(runtime, item, path);
  if (!path.is(Kind::text)) throw_runtime("an attribute must be a string or an integer");
  Value value = item;
  for (const std::string_view part : split_on(path.as_text(), ".", -1, false)) {
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number =
        !part.empty() && parsed.ec == std::errc{} && parsed.ptr == part.data() + part.size() && index >= 0;
    value = get_item(runtime, value, number ? Value::integer(index) : Value::text(part));
    if (value.is_undefined() && fallback != nullptr) return *fallback;
  }
  return value;
}

namespace {

std::string_view name_of(const Value& value) {
  if (!value.is(Kind::text)) throw_runtime("a filter's or test's name must be a string");
  return value.as_text();
}

Arguments rest_of(const Arguments& arguments, std::size_t used) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

// map and the selecting filters take anything false (none, 0) for an empty list, as jinja2 does.
std::vector<Value> items_of(Runtime& runtime, const Value& input) {
  return truthy(input) ? iterate(runtime, input) : std::vector<Value>();
}

Value map(Runtime& runtime, const Value& input, const Arguments& arguments) {
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    const Bound bound(arguments, "map", {"attribute", "default"});
    if (bound[0] == nullptr) throw_runtime("map requires a filter argument");
    for (const Value& item : items_of(runtime, input)) {
      runtime.charge(1);
      out.push_back(attribute_path(runtime, item, *bound[0], bound[1]));
    }
  } else {
    const std::string_view name = name_of(arguments.positional.front());
    const FilterFunction filter = find_filter(name);
    if (filter == nullptr) throw_runtime("No filter named " + quoted(name) + ".");
    const Arguments rest = rest_of(arguments, 1);
    const Runtime::Depth depth(runtime);
    for (const Value& item : items_of(runtime, input)) {
      runtime.charge(1);
      out.push_back(filter(runtime, item, rest));
    }
  }
  return runtime.sequence(SequenceKind::generator, std::move(out));
}

Value choose(Runtime& runtime, const Value& input, const Arguments& arguments, bool by_attribute,
             bool wanted) {
  std::size_t used = 0;
  Value attribute;
  if (by_attribute) {
    if (arguments.positional.empty()) throw_runtime("Missing parameter for attribute name");
    attribute = arguments.positional[used++];
  }
  TestFunction test = nullptr;
  if (arguments.positional.size() > used) {
    const std::string_view name = name_of(arguments.positional[used++]);
    test = find_test(name);
    if (test == nullptr) throw_runtime("No test named " + quoted(name) + ".");
  }
  const Arguments rest = rest_of(arguments, used);
  std::vector<Value> out;
  for (const Value& item : items_of(runtime, input)) {
    runtime.charge(1);
    const Value subject = by_attribute ? attribute_path(runtime, item, attribute) : item;
    if ((test != nullptr ? test(runtime, subject, rest) : truthy(subject)) == wanted) out.push_back(item);
  }
  return runtime.sequence(SequenceKind::generator, std::move(out));
}
Value select(Runtime& r, const Value& v, const Arguments& a) {
  return choose(r, v, a, false, true);
}
Value reject(Runtime& r, const Value& v, const Arguments& a) {
  return choose(r, v, a, false, false);
}
Value selectattr(Runtime& r, const Value& v, const Arguments& a) {
  return choose(r, v, a, true, true);
}
Value rejectattr(Runtime& r, const Value& v, const Arguments& a) {
  return choose(r, v, a, true, false);
}

// What an item is compared by: its attribute, without case where that is wanted.
Value key_of(Runtime& runtime, const Value& item, const Value* attribute, bool case_sensitive) {
  const Value value =
      attribute != nullptr && !attribute->is(Kind::none) ? attribute_path(runtime, item, *attribute) : item;
  return value.is(Kind::text) && !case_sensitive ? runtime.own(to_lower(value.as_text())) : value;
}

struct Keyed {
  Value key, item;
};

// Python's sort is stable, reversed too. A merge sort never reads outside its ranges, whatever the order
// relation does.
void sort_keyed(Runtime& runtime, std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(runtime, b.key, a.key) : less(runtime, a.key, b.key);
  });
}

Value sort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "sort", {"reverse", "case_sensitive", "attribute"});
  if (bound[2] != nullptr && bound[2]->is(Kind::text) &&
      bound[2]->as_text().find(',') != std::string_view::npos) {
    throw_error(ErrorKind::unsupported, "sort by several attributes is not supported");
  }
  const bool case_sensitive = truthy(bound.or_else(1, Value::boolean(false)));
  std::vector<Keyed> keyed;
  for (const Value& item : iterate(runtime, input)) {
    keyed.push_back({key_of(runtime, item, bound[2], case_sensitive), item});
  }
  sort_keyed(runtime, keyed, truthy(bound.or_else(0, Value::boolean(false))));
  std::vector<Value> out;
  for (const Keyed& one : keyed) out.push_back(one.item);
  return runtime.list(std::move(out));
}

Value unique(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "unique", {"case_sensitive", "attribute"});
  const bool case_sensitive = truthy(bound.or_else(0, Value::boolean(false)));
  Dict seen;
  std::vector<Value> out;
  for (const Value& item : iterate(runtime, input)) {
    const Value key = key_of(runtime, item, bound[1], case_sensitive);
    if (dict_find(runtime, seen, key) != nullptr) continue;
    dict_set(runtime, seen, key, item);
    out.push_back(item);
  }
  return runtime.sequence(SequenceKind::generator, std::move(out));
}

Value extreme(Runtime& runtime, const Value& input, const Arguments& arguments, bool largest) {
  const Bound bound(arguments, largest ? "max" : "min", {"case_sensitive", "attribute"});
  const bool case_sensitive = truthy(bound.or_else(0, Value::boolean(false)));
  const auto items = iterate(runtime, input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  Keyed best{key_of(runtime, items.front(), bound[1], case_sensitive), items.front()};
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Value key = key_of(runtime, items[i], bound[1], case_sensitive);
    if (largest ? less(runtime, best.key, key, ">") : less(runtime, key, best.key)) best = {key, items[i]};
  }
  return best.item;
}
Value minimum(Runtime& r, const Value& v, const Arguments& a) {
  return extreme(r, v, a, false);
}
Value maximum(Runtime& r, const Value& v, const Arguments& a) {
  return extreme(r, v, a, true);
}

Value dictsort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "dictsort", {"case_sensitive", "by", "reverse"});
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value") throw_runtime("You can only sort by either \"key\" or \"value\"");
  require_defined(input);
  if (!input.is(Kind::dict))
    throw_runtime("dictsort needs a dict, not '" + std::string(type_name(input)) + "'");
  const bool case_sensitive = truthy(bound.or_else(0, Value::boolean(false)));
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : input.dict().entries) {
    keyed.push_back({key_of(runtime, by == "key" ? key : value, nullptr, case_sensitive),
                     runtime.sequence(SequenceKind::tuple, {key, value})});
  }
  sort_keyed(runtime, keyed, truthy(bound.or_else(2, Value::boolean(false))));
  std::vector<Value> out;
  for (const Keyed& one : keyed) out.push_back(one.item);
  return runtime.list(std::move(out));
}

Value attr(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "attr", {"name"});
  require_defined(input);
  // Attributes only, no items: so nothing but methods, which no template asks for this way.
  return input.is(Kind::dict) ? runtime.undefined("'dict object' has no attribute " + quoted(bound.text(0)))
                              : get_attribute(runtime, input, bound.text(0));
}

}  // namespace

FilterFunction find_select_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, FilterFunction>, 11> kFilters = {{
      {"map", map},
      {"select", select},
      {"reject", reject},
      {"selectattr", selectattr},
      {"rejectattr", rejectattr},
      {"sort", sort},
      {"unique", unique},
      {"min", minimum},
      {"max", maximum},
      {"dictsort", dictsort},
      {"attr", attr},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace leadline::coordinator::jinja
