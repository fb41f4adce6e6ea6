#pragma once
// Operators of the language as Python has them: truth, equality, order, membership, arithmetic, iteration,
// hashing rules. Not attribute access (access.h). What Python raises is a TemplateError (runtime) with
// Python's words. Thread: one rendering.

#include <string_view>
#include <vector>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

bool truthy(const Value& value);
bool equals(Runtime& runtime, const Value& a, const Value& b, int depth = 0);
bool less(Runtime& runtime, const Value& a, const Value& b, std::string_view op = "<");
bool contains(Runtime& runtime, const Value& container, const Value& item);
// op: + - * / // % **
Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
Value negated(const Value& value);

// The items that a loop over `value` sees; a generator is consumed by it. Throws where Python's iter() does.
std::vector<Value> iterate(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);
// len(): code points, items, entries. Throws where Python does.
std::size_t length_of(Runtime& runtime, const Value& value);

// Dict access. set: replaces or appends.
const Value* dict_find(Runtime& runtime, const Dict& dict, const Value& key);
void dict_set(Runtime& runtime, Dict& dict, const Value& key, const Value& value);

[[noreturn]] void throw_undefined(const Value& value);
inline void require_defined(const Value& value) {
  if (value.is_undefined()) throw_undefined(value);
}

}  // namespace leadline::coordinator::jinja
