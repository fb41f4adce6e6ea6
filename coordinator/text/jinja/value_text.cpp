#include "coordinator/text/jinja/value_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

void check_depth(int depth) {
  if (depth > kMaxValueDepth) throw_error(ErrorKind::limit, "a value is nested too deeply to be written");
}
// Shared structure can make a short value long, so the cost is counted while writing.
void check_size(Runtime& runtime, const Value& value, const std::string& out) {
  runtime.charge(1 + (value.is(Kind::text) ? value.as_text().size() / 64 : 0));
  if (out.size() > kMaxOutputBytes)
    throw_error(ErrorKind::limit, "the chat template writes a value that is too long");
}
void append_hex(std::string& out, const char* prefix, unsigned value, int digits) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%s%0*x", prefix, digits, value);
  out += buffer;
}

}  // namespace

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return "str";
    case Kind::dict:
      return "dict";
    case Kind::space:
      return "Namespace";
    case Kind::loop:
      return "LoopContext";
    case Kind::callable:
      return value.callable().type == Callable::Type::macro ? "Macro" : "builtin_function_or_method";
    case Kind::sequence:
      break;
  }
  switch (value.sequence().kind) {
    case SequenceKind::list:
      return "list";
    case SequenceKind::tuple:
      return "tuple";
    case SequenceKind::range:
      return "range";
    case SequenceKind::generator:
      return "generator";
    case SequenceKind::dict_keys:
      return "dict_keys";
    case SequenceKind::dict_values:
      return "dict_values";
    case SequenceKind::dict_items:
      return "dict_items";
  }
  return "object";
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  int exponent = 0;
  const std::string_view exponent_text = text.substr(e + 1 + (text[e + 1] == '+'));
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string digits(text.substr(0, e));
  std::erase(digits, '.');
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const std::string magnitude = std::to_string(std::abs(exponent));
    return out + (magnitude.size() < 2 ? "0" + magnitude : magnitude);
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (exponent + 1 >= count)
    return out + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  return out + digits.substr(0, static_cast<std::size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<std::size_t>(exponent) + 1);
}

std::string quoted(std::string_view text) {
  const bool use_double =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = use_double ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const char c = text[i];
    const char32_t point = step.valid ? step.code_point : 0xFFFD;
    if (c == quote || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(point)) {
      append_code_point(point, out);
    } else if (point < 0x100) {
      append_hex(out, "\\x", point, 2);
    } else if (point < 0x10000) {
      append_hex(out, "\\u", point, 4);
    } else {
      append_hex(out, "\\U", point, 8);
    }
    i += step.length;
  }
  return out + quote;
}

namespace {

void append_items(Runtime& runtime, const std::vector<Value>& items, std::string& out, int depth) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(runtime, items[i], out, depth + 1);
  }
}

void append_sequence(Runtime& runtime, const Sequence& sequence, std::string& out, int depth) {
  switch (sequence.kind) {
    case SequenceKind::list:
      out += '[';
      append_items(runtime, sequence.items, out, depth);
      out += ']';
      return;
    case SequenceKind::tuple:
      out += '(';
      append_items(runtime, sequence.items, out, depth);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case SequenceKind::range:
      out += sequence.shown;
      return;
    case SequenceKind::generator:
      out += "<generator object>";
      return;
    case SequenceKind::dict_keys:
      out += "dict_keys([";
      break;
    case SequenceKind::dict_values:
      out += "dict_values([";
      break;
    case SequenceKind::dict_items:
      out += "dict_items([";
      break;
  }
  append_items(runtime, sequence.items, out, depth);
  out += "])";
}

}  // namespace

void append_repr(Runtime& runtime, const Value& value, std::string& out, int depth) {
  check_depth(depth);
  check_size(runtime, value, out);
  const std::size_t before = out.size();
  switch (value.kind()) {
    case Kind::undefined:
      out += "Undefined";
      break;
    case Kind::none:
      out += "None";
      break;
    case Kind::boolean:
      out += value.as_boolean() ? "True" : "False";
      break;
    case Kind::integer:
      out += std::to_string(value.as_integer());
      break;
    case Kind::real:
      out += real_text(value.as_real());
      break;
    case Kind::text:
      out += quoted(value.as_text());
      break;
    case Kind::sequence:
      append_sequence(runtime, value.sequence(), out, depth);
      break;
    case Kind::dict: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.dict().entries) {
        if (!first) out += ", ";
        first = false;
        append_repr(runtime, key, out, depth + 1);
        out += ": ";
        append_repr(runtime, item, out, depth + 1);
      }
      out += '}';
      break;
    }
    case Kind::space: {
      out += "<Namespace {";
      bool first = true;
      for (const auto& [key, item] : value.space().fields) {
        if (!first) out += ", ";
        first = false;
        out += quoted(key) + ": ";
        append_repr(runtime, item, out, depth + 1);
      }
      out += "}>";
      break;
    }
    case Kind::callable:
      out += (value.callable().type == Callable::Type::macro ? "<Macro '" : "<function '") +
             std::string(value.callable().name) + "'>";
      break;
    case Kind::loop:
      out += "<LoopContext " + std::to_string(value.loop().index0 + 1) + "/" +
             std::to_string(value.loop().items->items.size()) + ">";
      break;
  }
  if (depth == 0) runtime.charge_memory(out.size() - before);
}

void append_text(Runtime& runtime, const Value& value, std::string& out) {
  if (value.is(Kind::text)) {
    out += value.as_text();
  } else if (!value.is_undefined()) {
    append_repr(runtime, value, out);
  }
}

Value text_of(Runtime& runtime, const Value& value) {
  if (value.is(Kind::text)) return value;
  if (value.is_undefined()) return Value::text("");
  std::string out;
  append_repr(runtime, value, out);
  return runtime.own(std::move(out));
}

namespace {

void append_json_text(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const char c = text[i];
    static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f", kTo = "\"\\nrtbf";
    if (const std::size_t k = kFrom.find(c); k != std::string_view::npos) {
      out += {'\\', kTo[k]};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      append_hex(out, "\\u", static_cast<unsigned char>(c), 4);
    } else if (ensure_ascii && (static_cast<unsigned char>(c) >= 0x80)) {
      const char32_t point = step.valid ? step.code_point : 0xFFFD;
      if (point >= 0x10000) {
        append_hex(out, "\\u", 0xD800 + ((point - 0x10000) >> 10), 4);
        append_hex(out, "\\u", 0xDC00 + ((point - 0x10000) & 0x3FF), 4);
      } else {
        append_hex(out, "\\u", point, 4);
      }
    } else {
      out += text.substr(i, step.length);
    }
    i += step.length;
  }
  out += '"';
}

std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return real_text(value);
}

void append_key(const Value& key, const JsonStyle& style, std::string& out) {
  switch (key.kind()) {
    case Kind::text:
      return append_json_text(key.as_text(), style.ensure_ascii, out);
    case Kind::none:
      out += "\"null\"";
      return;
    case Kind::boolean:
      out += key.as_boolean() ? "\"true\"" : "\"false\"";
      return;
    case Kind::integer:
      out += "\"" + std::to_string(key.as_integer()) + "\"";
      return;
    case Kind::real:
      out += "\"" + json_number(key.as_real()) + "\"";
      return;
    case Kind::undefined:
    case Kind::sequence:
    case Kind::dict:
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      break;
  }
  throw_runtime("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
}

void new_line(const JsonStyle& style, int depth, std::string& out) {
  if (style.indent < 0) return;
  out += '\n';
  out.append(static_cast<std::size_t>(style.indent) * static_cast<std::size_t>(depth), ' ');
}

void append_json_dict(Runtime& runtime, const Dict& dict, const JsonStyle& style, std::string& out,
                      int depth) {
  std::vector<const std::pair<Value, Value>*> entries;
  entries.reserve(dict.entries.size());
  for (const auto& entry : dict.entries) entries.push_back(&entry);
  if (style.sort_keys) {
    std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
      if (!a->first.is(Kind::text) || !b->first.is(Kind::text))
        throw_runtime("sort_keys needs keys that are strings");
      return a->first.as_text() < b->first.as_text();
    });
  }
  out += '{';
  bool first = true;
  for (const auto* entry : entries) {
    if (!first) out += style.item_separator;
    first = false;
    new_line(style, depth + 1, out);
    append_key(entry->first, style, out);
    out += style.key_separator;
    append_json(runtime, entry->second, style, out, depth + 1);
  }
  if (!entries.empty()) new_line(style, depth, out);
  out += '}';
}

}  // namespace

void append_json(Runtime& runtime, const Value& value, const JsonStyle& style, std::string& out, int depth) {
  check_depth(depth);
  check_size(runtime, value, out);
  switch (value.kind()) {
    case Kind::none:
      out += "null";
      return;
    case Kind::boolean:
      out += value.as_boolean() ? "true" : "false";
      return;
    case Kind::integer:
      out += std::to_string(value.as_integer());
      return;
    case Kind::real:
      out += json_number(value.as_real());
      return;
    case Kind::text:
      return append_json_text(value.as_text(), style.ensure_ascii, out);
    case Kind::dict:
      return append_json_dict(runtime, value.dict(), style, out, depth);
    case Kind::sequence: {
      const Sequence& sequence = value.sequence();
      if (sequence.kind != SequenceKind::list && sequence.kind != SequenceKind::tuple) break;
      out += '[';
      for (std::size_t i = 0; i < sequence.items.size(); ++i) {
        if (i > 0) out += style.item_separator;
        new_line(style, depth + 1, out);
        append_json(runtime, sequence.items[i], style, out, depth + 1);
      }
      if (!sequence.items.empty()) new_line(style, depth, out);
      out += ']';
      return;
    }
    case Kind::undefined:
    case Kind::space:
    case Kind::callable:
    case Kind::loop:
      break;
  }
  throw_runtime("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
}

}  // namespace leadline::coordinator::jinja
