#pragma once
// TemplateError: the one exception of this directory; parse and render unwind with it and chat_template.cpp
// turns it into a Result. It never leaves coordinator/text. Not for our own bugs (LEADLINE_CHECK). Thread: a
// value.

#include <string>
#include <utility>

namespace leadline::coordinator::jinja {

enum class ErrorKind {
  syntax,       // not a template
  unsupported,  // valid Jinja that this interpreter does not have: known at parse
  runtime,  // the template does not fit the variables (undefined value, wrong type): jinja2 raises there, too
  raised,   // the template's own raise_exception
  limit,    // steps, memory, depth or output
};

struct TemplateError {
  ErrorKind kind;
  std::string message;
  int line = 0;  // 0: not known yet; filled in by the interpreter
};

[[noreturn]] inline void throw_error(ErrorKind kind, std::string message, int line = 0) {
  throw TemplateError{kind, std::move(message), line};
}
[[noreturn]] inline void throw_runtime(std::string message) {
  throw_error(ErrorKind::runtime, std::move(message));
}

}  // namespace leadline::coordinator::jinja
