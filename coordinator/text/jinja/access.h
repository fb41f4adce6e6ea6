#pragma once
// Attribute, subscript and slice access, by jinja2's rules: value.name tries the type's attribute, then the
// item; value[key] the item, then the attribute; what is missing is undefined, what is private or mutates is
// refused as the sandbox does. Thread: one rendering.

#include <optional>
#include <string_view>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

Value get_attribute(Runtime& runtime, const Value& base, std::string_view name);
Value get_item(Runtime& runtime, const Value& base, const Value& key);
// Bounds are none or integers. Texts are cut by code point.
Value get_slice(Runtime& runtime, const Value& base, const Value& start, const Value& stop,
                const Value& step);

}  // namespace leadline::coordinator::jinja
