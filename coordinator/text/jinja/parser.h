#pragma once
// parse: template source -> statements. What is valid Jinja but not built here (extends, include, import,
// block, autoescape, recursive loops, ...) is refused by name and line. Not an interpreter. Thread: pure
// function.

#include <string_view>

#include "coordinator/text/jinja/ast.h"

namespace leadline::coordinator::jinja {

// Throws TemplateError (syntax, unsupported, limit).
Block parse(std::string_view source);

}  // namespace leadline::coordinator::jinja
