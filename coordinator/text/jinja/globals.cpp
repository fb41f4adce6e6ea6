// The functions that every template sees.
#include <algorithm>
#include <array>

#include "coordinator/text/jinja/interpreter.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/text_format.h"

namespace leadline::coordinator::jinja {
namespace {

constexpr std::array<std::string_view, 5> kGlobals = {"range", "dict", "namespace", "raise_exception",
                                                      "strftime_now"};

Value make_range(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(arguments, "range", {"start", "stop", "step"});
  bound.required(0);
  const bool one = bound[1] == nullptr;
  for (std::size_t i = 0; i < 3; ++i) {
    if (bound[i] != nullptr) require_defined(*bound[i]);
  }
  const std::int64_t start = one ? 0 : bound.integer(0, 0),
                     stop = one ? bound.integer(0, 0) : bound.integer(1, 0);
  const std::int64_t step = bound.integer(2, 1);
  if (step == 0) throw_runtime("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() >= kMaxRangeItems) {
      throw_error(ErrorKind::limit, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (" +
                                        std::to_string(kMaxRangeItems) + ").");
    }
    items.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  runtime.charge_items(items.size());
  const Value range = runtime.sequence(SequenceKind::range, std::move(items));
  range.sequence().shown = runtime
                               .own("range(" + std::to_string(start) + ", " + std::to_string(stop) +
                                    (step == 1 ? ")" : ", " + std::to_string(step) + ")"))
                               .as_text();
  return range;
}

// dict(mapping or pairs, a=1); also the start of namespace().
void fill(Runtime& runtime, const Arguments& arguments, Dict& dict) {
  if (arguments.positional.size() > 1) throw_runtime("dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional.front();
    if (source.is(Kind::dict)) {
      for (const auto& [key, value] : source.dict().entries) dict_set(runtime, dict, key, value);
    } else {
      for (const Value& pair : iterate(runtime, source)) {
        const auto items = iterate(runtime, pair);
        if (items.size() != 2) throw_runtime("dictionary update sequence elements must have length 2");
        dict_set(runtime, dict, items[0], items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict_set(runtime, dict, Value::text(name), value);
}

}  // namespace

bool is_global(std::string_view name) {
  return std::find(kGlobals.begin(), kGlobals.end(), name) != kGlobals.end();
}

Value call_global_function(Runtime& runtime, std::string_view name, const Arguments& arguments) {
  if (name == "range") return make_range(runtime, arguments);
  if (name == "dict") {
    auto* dict = runtime.make<Dict>();
    fill(runtime, arguments, *dict);
    return Value::of(dict);
  }
  if (name == "namespace") {
    Dict dict;
    fill(runtime, arguments, dict);
    auto* space = runtime.make<Namespace>();
    for (const auto& [key, value] : dict.entries)
      space->fields.emplace_back(text_of(runtime, key).as_text(), value);
    return Value::of(space);
  }
  if (name == "strftime_now") {
    const Bound bound(arguments, "strftime_now", {"format"});
    return time_format(runtime, bound.text(0), runtime.now_unix_s());
  }
  const Bound bound(arguments, "raise_exception", {"message"});
  throw_error(ErrorKind::raised, std::string(text_of(runtime, bound.required(0)).as_text()));
}

}  // namespace leadline::coordinator::jinja
