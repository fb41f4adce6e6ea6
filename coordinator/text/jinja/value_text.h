#pragma once
// How values are written: str() as Python's, repr() inside containers, and transformers' tojson (json.dumps
// without HTML escapes). Not a JSON parser. Thread: one rendering.

#include <string>
#include <string_view>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

std::string_view type_name(const Value& value);  // "int", "str", "list", as Python's messages have it

// Python's repr of a float: shortest digits that read back the same.
std::string real_text(double value);
std::string quoted(std::string_view text);  // Python's repr of a string

// str(value). Texts are not copied.
Value text_of(Runtime& runtime, const Value& value);
void append_text(Runtime& runtime, const Value& value, std::string& out);
void append_repr(Runtime& runtime, const Value& value, std::string& out, int depth = 0);

struct JsonStyle {
  int indent = -1;  // -1: one line
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::string item_separator = ", ", key_separator = ": ";
};
void append_json(Runtime& runtime, const Value& value, const JsonStyle& style, std::string& out,
                 int depth = 0);

}  // namespace leadline::coordinator::jinja
