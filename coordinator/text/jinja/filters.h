#pragma once
// Filters by name. The set is jinja2's, less those that make HTML or chance (escape, urlize, random, ...): an
// unknown or missing one is refused at load. Thread: one rendering.

#include <string_view>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/ast.h"

namespace leadline::coordinator::jinja {

FilterFunction find_filter(std::string_view name);           // null when there is none
FilterFunction find_text_filter(std::string_view name);      // filters_text.cpp: texts and numbers
FilterFunction find_sequence_filter(std::string_view name);  // filters_sequence.cpp: lists and dicts
FilterFunction find_select_filter(
    std::string_view name);  // filters_select.cpp: map, select, sort, by attribute

// "a.b.0": follows attributes of `item`, as map(attribute=...) does; an undefined end becomes `fallback` when
// there is one.
Value attribute_path(Runtime& runtime, const Value& item, const Value& path, const Value* fallback = nullptr);

}  // namespace leadline::coordinator::jinja
