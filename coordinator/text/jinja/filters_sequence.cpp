// Filters over lists, dicts and anything that can be iterated, without a choice by attribute.
#include <algorithm>
#include <array>

#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/jinja/text_cut.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

Value length(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "length", {});
  return Value::integer(static_cast<std::int64_t>(length_of(runtime, input)));
}

Value fallback(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "default", {"default_value", "boolean"});
  const bool by_truth = truthy(bound.or_else(1, Value::boolean(false)));
  return input.is_undefined() || (by_truth && !truthy(input)) ? bound.or_else(0, Value::text("")) : input;
}

Value first(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "first", {});
  if (input.is(Kind::sequence)) {
    Sequence& sequence = input.sequence();
    if (sequence.consumed >= sequence.items.size())
      return Value::undefined("No first item, sequence was empty.");
    const Value item = sequence.items[sequence.consumed];
    sequence.consumed += sequence.kind == SequenceKind::generator;
    return item;
  }
  const auto items = iterate(runtime, input);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}
Value last(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "last", {});
  if (input.is(Kind::sequence) && input.sequence().kind == SequenceKind::generator) {
    throw_runtime("'generator' object is not reversible");
  }
  const auto items = iterate(runtime, input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value list(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "list", {});
  return runtime.list(iterate(runtime, input));
}

Value join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "join", {"d", "attribute"});
  const std::string_view separator = text_of(runtime, bound.or_else(0, Value::text(""))).as_text();
  std::string out;
  bool more = false;
  for (const Value& item : iterate(runtime, input)) {
    runtime.charge(1);
    if (more) out += separator;
    more = true;
    append_text(
        runtime,
        bound[1] != nullptr && !bound[1]->is(Kind::none) ? attribute_path(runtime, item, *bound[1]) : item,
        out);
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a joined text is too long");
  }
  return runtime.own(std::move(out));
}

Value reverse(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "reverse", {});
  auto items = iterate(runtime, input);
  std::reverse(items.begin(), items.end());
  if (!input.is(Kind::text)) return runtime.sequence(SequenceKind::generator, std::move(items));
  std::string out;
  for (const Value& item : items) out += item.as_text();
  return runtime.own(std::move(out));
}

Value items(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "items", {});
  std::vector<Value> pairs;
  if (!input.is_undefined()) {
    if (!input.is(Kind::dict)) throw_runtime("Can only get item pairs from a mapping.");
    for (const auto& [key, value] : input.dict().entries) {
      pairs.push_back(runtime.sequence(SequenceKind::tuple, {key, value}));
    }
  }
  return runtime.sequence(SequenceKind::generator, std::move(pairs));
}

Value sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "sum", {"attribute", "start"});
  Value total = bound.or_else(1, Value::integer(0));
  const bool by_attribute = bound[0] != nullptr && !bound[0]->is(Kind::none);
  for (const Value& item : iterate(runtime, input)) {
    runtime.charge(1);
    total = binary(runtime, "+", total, by_attribute ? attribute_path(runtime, item, *bound[0]) : item);
  }
  return total;
}

Value batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "batch", {"linecount", "fill_with"});
  bound.required(0);
  const std::int64_t size = bound.integer(0, 1);
  if (size < 1 || size > 100000) throw_runtime("batch: the line count is out of range");
  std::vector<Value> rows, row;
  for (const Value& item : iterate(runtime, input)) {
    row.push_back(item);
    if (static_cast<std::int64_t>(row.size()) == size) rows.push_back(runtime.list(std::exchange(row, {})));
  }
  if (!row.empty()) {
    if (bound[1] != nullptr && !bound[1]->is(Kind::none))
      row.resize(static_cast<std::size_t>(size), *bound[1]);
    rows.push_back(runtime.list(std::move(row)));
  }
  return runtime.sequence(SequenceKind::generator, std::move(rows));
}

}  // namespace

FilterFunction find_sequence_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, FilterFunction>, 12> kFilters = {{
      {"length", length},
      {"count", length},
      {"default", fallback},
      {"d", fallback},
      {"first", first},
      {"last", last},
      {"list", list},
      {"join", join},
      {"reverse", reverse},
      {"items", items},
      {"sum", sum},
      {"batch", batch},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace leadline::coordinator::jinja
