#pragma once
// Formatting of texts: the % operator, str.format, strftime. Only the conversions that templates use; others
// are refused by name when met. Thread: one rendering.

#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

struct Arguments;

// "..." % value (a tuple gives several): %s %r %d %i %f %e %g %x %X %o %c %%, flags "-0+ #", width and
// precision up to 1,000.
Value percent_format(Runtime& runtime, std::string_view format, const Value& value);
// "...".format(...): {}, {0}, {name}, {{ and }}, !r and !s; no format specification.
Value brace_format(Runtime& runtime, std::string_view format, const Arguments& arguments);
// strftime in UTC, in the C locale.
Value time_format(Runtime& runtime, std::string_view format, std::int64_t unix_s);

}  // namespace leadline::coordinator::jinja
