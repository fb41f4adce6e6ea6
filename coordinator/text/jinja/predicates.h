#pragma once
// The tests after `is` ("defined", "string", "in", ...), by name. Not GoogleTest.
// Thread: one rendering.

#include <string_view>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/ast.h"

namespace leadline::coordinator::jinja {

TestFunction find_test(std::string_view name);  // null when there is none

}  // namespace leadline::coordinator::jinja
