#pragma once
// Methods of texts, lists, tuples and dicts that a template may call, and those that the sandbox refuses
// because they change their object. Not filters. Thread: one rendering.

#include <string_view>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

bool has_method(const Value& self, std::string_view name);
bool is_mutating(const Value& self, std::string_view name);
Value bound_method(Runtime& runtime, const Value& self, std::string_view name);
// REQUIRES: has_method, or a loop's cycle and changed.
Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments);

// Text methods, by name; null when there is none.
using TextMethod = Value (*)(Runtime&, std::string_view self, const Arguments&);
TextMethod find_text_method(std::string_view name);

}  // namespace leadline::coordinator::jinja
