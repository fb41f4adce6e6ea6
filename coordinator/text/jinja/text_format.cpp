#include "coordinator/text/jinja/text_format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/value_text.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

struct Conversion {
  std::string flags;
  int width = 0, precision = -1;
  char type = 's';
};

int read_number(std::string_view format, std::size_t& i) {
  int number = 0;
  while (i < format.size() && format[i] >= '0' && format[i] <= '9') {
    number = number * 10 + (format[i++] - '0');
    if (number > 1000) throw_error(ErrorKind::limit, "a format's width or precision is above 1000");
  }
  return number;
}

Conversion read_conversion(std::string_view format, std::size_t& i) {
  Conversion c;
  while (i < format.size() && std::string_view("-0+ #").find(format[i]) != std::string_view::npos)
    c.flags += format[i++];
  c.width = read_number(format, i);
  if (i < format.size() && format[i] == '.') c.precision = read_number(format, ++i);
  if (i >= format.size()) throw_runtime("incomplete format");
  c.type = format[i++];
  return c;
}

std::size_t code_points(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) i += utf8_step(text, i).length;
  return count;
}

void pad(const Conversion& c, std::string text, std::string& out) {
  const std::size_t have = code_points(text), width = static_cast<std::size_t>(c.width);
  const std::size_t fill = width > have ? width - have : 0;
  const bool left = c.flags.find('-') != std::string::npos;
  if (!left) out.append(fill, ' ');
  out += text;
  if (left) out.append(fill, ' ');
}

std::string first_points(std::string_view text, int count) {
  std::size_t i = 0;
  for (; count > 0 && i < text.size(); --count) i += utf8_step(text, i).length;
  return std::string(text.substr(0, i));
}

void append_number(const Conversion& c, const Value& value, std::string& out) {
  require_defined(value);
  if (!value.is_number()) {
    throw_runtime("%" + std::string(1, c.type) + " format: a number is required, not " +
                  std::string(type_name(value)));
  }
  std::string spec = "%" + c.flags + (c.width > 0 ? std::to_string(c.width) : "") +
                     (c.precision >= 0 ? "." + std::to_string(c.precision) : "");
  std::array<char, 2600> buffer;
  int length = 0;
  if (std::string_view("feEgGF").find(c.type) != std::string_view::npos) {
    length = std::snprintf(buffer.data(), buffer.size(), (spec + c.type).c_str(), value.as_real());
  } else {
    if (c.type != 'd' && c.type != 'i' && c.type != 'u' && (!value.is_integral() || value.as_integer() < 0)) {
      throw_runtime("%" + std::string(1, c.type) + " format: a non-negative integer is required");
    }
    const double real = value.as_real();
    if (!value.is_integral() && !(std::fabs(real) < 9e18))
      throw_runtime("cannot convert the float to an integer");
    const long long number = value.is_integral() ? value.as_integer() : static_cast<long long>(real);
    const char type = c.type == 'i' || c.type == 'u' ? 'd' : c.type;
    length = std::snprintf(buffer.data(), buffer.size(), (spec + "ll" + type).c_str(), number);
  }
  if (length < 0 || static_cast<std::size_t>(length) >= buffer.size())
    throw_runtime("a formatted number is too long");
  out.append(buffer.data(), static_cast<std::size_t>(length));
}

void convert(Runtime& runtime, const Conversion& c, const Value& value, std::string& out) {
  static constexpr std::string_view kNumbers = "diufFeEgGxXo";
  if (c.type == 's' || c.type == 'r') {
    std::string text;
    c.type == 's' ? append_text(runtime, value, text) : append_repr(runtime, value, text);
    return pad(c, c.precision >= 0 ? first_points(text, c.precision) : text, out);
  }
  if (c.type == 'c' && value.is(Kind::text) && code_points(value.as_text()) == 1) {
    return pad(c, std::string(value.as_text()), out);
  }
  if (kNumbers.find(c.type) == std::string_view::npos) {
    throw_error(ErrorKind::unsupported,
                "the format character '" + std::string(1, c.type) + "' is not supported");
  }
  append_number(c, value, out);
}

}  // namespace

Value percent_format(Runtime& runtime, std::string_view format, const Value& value) {
  const bool tuple = value.is(Kind::sequence) && value.sequence().kind == SequenceKind::tuple;
  const std::vector<Value> values = tuple ? value.sequence().items : std::vector<Value>{value};
  std::size_t used = 0;
  bool by_name = false;
  std::string out;
  for (std::size_t i = 0; i < format.size();) {
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a formatted text is too long");
    if (format[i] != '%') {
      out += format[i++];
      continue;
    }
    if (++i >= format.size()) throw_runtime("incomplete format");
    if (format[i] == '%') {
      out += format[i++];
      continue;
    }
    const Value* item = nullptr;
    if (format[i] == '(') {
      const std::size_t close = format.find(')', i);
      if (close == std::string_view::npos) throw_runtime("incomplete format key");
      if (!value.is(Kind::dict)) throw_runtime("format requires a mapping");
      item = dict_find(runtime, value.dict(), Value::text(format.substr(i + 1, close - i - 1)));
      if (item == nullptr)
        throw_runtime("format: the key " + quoted(format.substr(i + 1, close - i - 1)) + " is missing");
      i = close + 1;
      by_name = true;
    }
    const Conversion conversion = read_conversion(format, i);
    if (item == nullptr) {
      if (used >= values.size()) throw_runtime("not enough arguments for format string");
      item = &values[used++];
    }
    convert(runtime, conversion, *item, out);
  }
  // As CPython: what could be a mapping (a list, too) may stay unused.
  const bool subscriptable = value.is(Kind::dict) || (value.is(Kind::sequence) && !tuple &&
                                                      value.sequence().kind != SequenceKind::generator);
  if (used < values.size() && !by_name && !subscriptable) {
    throw_runtime("not all arguments converted during string formatting");
  }
  return runtime.own(std::move(out));
}

namespace {

const Value& brace_field(const Arguments& arguments, std::string_view field, std::size_t& automatic) {
  const auto position = [&](std::size_t index) -> const Value& {
    if (index >= arguments.positional.size()) {
      throw_runtime("Replacement index " + std::to_string(index) + " out of range for positional args tuple");
    }
    return arguments.positional[index];
  };
  if (field.empty()) return position(automatic++);
  if (field.find_first_of(".[") != std::string_view::npos) {
    throw_error(ErrorKind::unsupported, "format() with '.' or '[' in a field is not supported");
  }
  if (field.front() >= '0' && field.front() <= '9') {
    std::size_t index = 0;
    std::from_chars(field.data(), field.data() + field.size(), index);
    return position(index);
  }
  for (const auto& [name, value] : arguments.named) {
    if (name == field) return value;
  }
  throw_runtime("format(): the field " + quoted(field) + " is missing");
}

}  // namespace

Value brace_format(Runtime& runtime, std::string_view format, const Arguments& arguments) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a formatted text is too long");
    if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c) {
      out += c;
      ++i;
      continue;
    }
    if (c == '}') throw_runtime("Single '}' encountered in format string");
    if (c != '{') {
      out += c;
      continue;
    }
    const std::size_t close = format.find('}', i);
    if (close == std::string_view::npos) throw_runtime("expected '}' before end of string");
    std::string_view field = format.substr(i + 1, close - i - 1);
    bool repr = false;
    if (field.ends_with("!r") || field.ends_with("!s")) {
      repr = field.back() == 'r';
      field.remove_suffix(2);
    }
    if (field.find(':') != std::string_view::npos || field.find('!') != std::string_view::npos) {
      throw_error(ErrorKind::unsupported, "format() with a specification after ':' is not supported");
    }
    const Value& value = brace_field(arguments, field, automatic);
    repr ? append_repr(runtime, value, out) : append_text(runtime, value, out);
    i = close;
  }
  return runtime.own(std::move(out));
}

Value time_format(Runtime& runtime, std::string_view format, std::int64_t unix_s) {
  if (format.size() > 1000) throw_error(ErrorKind::limit, "a time format is longer than 1000 bytes");
  const std::time_t when = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  if (gmtime_r(&when, &parts) == nullptr) throw_runtime("the time cannot be represented");
  std::array<char, 8192> buffer;
  // A leading blank tells an empty result from one that does not fit.
  const std::string spec = " " + std::string(format);
  const std::size_t length = std::strftime(buffer.data(), buffer.size(), spec.c_str(), &parts);
  if (length == 0) throw_runtime("a formatted time is too long");
  return runtime.own(std::string(buffer.data() + 1, length - 1));
}

}  // namespace leadline::coordinator::jinja
