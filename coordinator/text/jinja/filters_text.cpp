// Filters over texts and numbers.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/jinja/text_cut.h"
#include "coordinator/text/jinja/text_format.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

std::string_view soft(Runtime& runtime, const Value& value) {
  return text_of(runtime, value).as_text();
}

Value trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "trim", {"chars"});
  const std::string_view text = soft(runtime, input);
  runtime.charge_bytes(text.size());
  if (bound[0] == nullptr || bound[0]->is(Kind::none)) return Value::text(stripped(text, true, true));
  return Value::text(stripped_of(text, bound.text(0), true, true));
}
Value upper(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "upper", {});
  return runtime.own(to_upper(soft(runtime, input)));
}
Value lower(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "lower", {});
  return runtime.own(to_lower(soft(runtime, input)));
}
Value capitalize(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "capitalize", {});
  return runtime.own(capitalized(soft(runtime, input)));
}
// Words begin after white space, a hyphen or an opening bracket.
Value title(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "title", {});
  const std::string_view text = soft(runtime, input);
  std::string out;
  bool start = true;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const char32_t c = step.code_point;
    start ? append_upper(c, out) : append_lower(c, out);
    start = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    i += step.length;
  }
  return runtime.own(std::move(out));
}
Value string(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "string", {});
  return text_of(runtime, input);
}
Value replace(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "replace", {"old", "new", "count"});
  bound.required(1);
  const std::int64_t count = bound[2] != nullptr && bound[2]->is(Kind::none) ? -1 : bound.integer(2, -1);
  return runtime.own(
      replaced(runtime, soft(runtime, input), soft(runtime, *bound[0]), soft(runtime, *bound[1]), count));
}

Value indent(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "indent", {"width", "first", "blank"});
  require_defined(input);
  if (!input.is(Kind::text))
    throw_runtime("'" + std::string(type_name(input)) + "' object has no attribute 'splitlines'");
  std::string margin;
  if (bound[0] != nullptr && bound[0]->is(Kind::text)) {
    margin = bound.text(0);
  } else {
    const std::int64_t width = bound.integer(0, 4);
    if (width > 1000) throw_error(ErrorKind::limit, "an indentation is above 1000");
    margin.assign(static_cast<std::size_t>(std::max<std::int64_t>(0, width)), ' ');
  }
  const bool first = truthy(bound.or_else(1, Value::boolean(false)));
  const bool blank = truthy(bound.or_else(2, Value::boolean(false)));
  const std::string text =
      std::string(soft(runtime, input)) + "\n";  // as jinja2: so that the last line counts
  std::string out;
  const auto lines = lines_of(text, false);
  runtime.charge_memory(text.size() + lines.size() * margin.size());
  if (first) out += margin;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += margin;
    out += lines[i];
  }
  return runtime.own(std::move(out));
}
Value center(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "center", {"width"});
  return runtime.own(padded(runtime, soft(runtime, input), bound.integer(0, 80), " ", 'c'));
}
Value format(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!arguments.named.empty()) {
    auto* dict = runtime.make<Dict>();
    for (const auto& [name, value] : arguments.named) dict_set(runtime, *dict, Value::text(name), value);
    return percent_format(runtime, soft(runtime, input), Value::of(dict));
  }
  return percent_format(runtime, soft(runtime, input),
                        runtime.sequence(SequenceKind::tuple, arguments.positional));
}
Value wordcount(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "wordcount", {});
  const std::string_view text = soft(runtime, input);
  std::int64_t words = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const char32_t c = step.code_point;
    const bool word = step.valid && (is_alpha(c) || is_digit(c) || c == '_');
    words += word && !inside;
    inside = word;
    i += step.length;
  }
  return Value::integer(words);
}
Value truncate(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "truncate", {"length", "killwords", "end", "leeway"});
  const std::string_view text = soft(runtime, input), end = bound.text(2, "...");
  const std::int64_t length = bound.integer(0, 255), leeway = bound.integer(3, 5);
  const auto size = [&](std::string_view t) {
    return static_cast<std::int64_t>(length_of(runtime, Value::text(t)));
  };
  if (length < size(end) || leeway < 0) throw_runtime("truncate: the length is below that of the end");
  if (size(text) <= length + leeway) return Value::text(text);
  std::size_t cut = 0;
  for (std::int64_t i = 0; i < length - size(end); ++i) cut += utf8_step(text, cut).length;
  std::string_view kept = text.substr(0, cut);
  if (!truthy(bound.or_else(1, Value::boolean(false)))) kept = kept.substr(0, kept.rfind(' '));
  return runtime.own(std::string(kept) + std::string(end));
}

Value absolute(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "abs", {});
  require_defined(input);
  if (input.is(Kind::real)) return Value::real(std::fabs(input.as_real()));
  if (!input.is_integral())
    throw_runtime("bad operand type for abs(): '" + std::string(type_name(input)) + "'");
  return input.as_integer() < 0 ? negated(input) : Value::integer(input.as_integer());
}

// Rounds half to even on the decimal digits, as Python's round(float, n): through the exact decimal
// expansion.
double round_digits(double value, int digits) {
  if (!std::isfinite(value) || digits > 300) return value;
  if (digits < 0) {
    const double scale = std::pow(10.0, -digits);
    return std::nearbyint(value / scale) * scale;
  }
  std::array<char, 700> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
  double result = value;
  if (end.ec == std::errc{}) std::from_chars(buffer.data(), end.ptr, result);
  return result;
}

Value round(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "round", {"precision", "method"});
  require_defined(input);
  if (!input.is_number())
    throw_runtime("type " + std::string(type_name(input)) + " doesn't define __round__ method");
  const std::int64_t precision = bound.integer(0, 0);
  if (precision < -300 || precision > 300) throw_runtime("round: the precision is out of range");
  const std::string_view method = bound.text(1, "common");
  if (method == "common") {
    if (input.is_integral() && precision >= 0) return Value::integer(input.as_integer());
    return Value::real(round_digits(input.as_real(), static_cast<int>(precision)));
  }
  if (method != "ceil" && method != "floor") throw_runtime("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.as_real() * scale;
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

// Python's float(text): blanks around, underscores between digits, inf and nan.
bool parse_real(std::string_view text, double& out) {
  std::string digits(stripped(text, true, true));
  if (!digits.empty() && digits.front() == '+') digits.erase(0, 1);
  if (digits.empty() || digits.front() == '+' || digits.find_first_of("xXpP") != std::string::npos)
    return false;
  std::string clean;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const auto digit = [&](std::size_t k) {
      return k < digits.size() && digits[k] >= '0' && digits[k] <= '9';
    };
    if (digits[i] == '_') {
      if (i == 0 || !digit(i - 1) || !digit(i + 1)) return false;
      continue;
    }
    clean += digits[i];
  }
  const auto parsed = std::from_chars(clean.data(), clean.data() + clean.size(), out);
  if (parsed.ec == std::errc::result_out_of_range) {
    out = std::strtod(clean.c_str(), nullptr);
    return parsed.ptr == clean.data() + clean.size();
  }
  return parsed.ec == std::errc{} && parsed.ptr == clean.data() + clean.size();
}

bool parse_integer(std::string_view text, int base, std::int64_t& out) {
  std::string digits(stripped(text, true, true));
  bool negative = false;
  if (!digits.empty() && (digits.front() == '+' || digits.front() == '-')) {
    negative = digits.front() == '-';
    digits.erase(0, 1);
  }
  if (digits.size() > 2 && digits[0] == '0') {
    const char marker = static_cast<char>(digits[1] | 0x20);
    if ((base == 16 && marker == 'x') || (base == 8 && marker == 'o') || (base == 2 && marker == 'b'))
      digits.erase(0, 2);
  }
  std::erase(digits, '_');
  if (digits.empty() || digits.front() == '-') return false;
  if (negative) digits.insert(0, 1, '-');
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), out, base);
  if (parsed.ec == std::errc::result_out_of_range) throw_error(ErrorKind::limit, "an integer leaves 64 bits");
  return parsed.ec == std::errc{} && parsed.ptr == digits.data() + digits.size();
}

bool truncated(double value, std::int64_t& out) {
  if (!std::isfinite(value)) return false;
  if (std::fabs(value) >= 9.2e18) throw_error(ErrorKind::limit, "an integer leaves 64 bits");
  out = static_cast<std::int64_t>(value);
  return true;
}

Value to_integer(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "int", {"default", "base"});
  require_defined(input);
  const std::int64_t base = bound.integer(1, 10);
  if (base < 2 || base > 36) throw_runtime("int: the base is out of range");
  std::int64_t number = 0;
  if (input.is_integral()) return Value::integer(input.as_integer());
  if (input.is(Kind::real) && truncated(input.as_real(), number)) return Value::integer(number);
  if (input.is(Kind::text)) {
    if (parse_integer(input.as_text(), static_cast<int>(base), number)) return Value::integer(number);
    double real = 0;
    if (parse_real(input.as_text(), real) && truncated(real, number)) return Value::integer(number);
  }
  return bound.or_else(0, Value::integer(0));
}
Value to_real(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "float", {"default"});
  require_defined(input);
  double number = 0;
  if (input.is_number()) return Value::real(input.as_real());
  if (input.is(Kind::text) && parse_real(input.as_text(), number)) return Value::real(number);
  return bound.or_else(0, Value::real(0.0));
}

Value tojson(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = truthy(bound.or_else(0, Value::boolean(false)));
  style.sort_keys = truthy(bound.or_else(3, Value::boolean(false)));
  if (bound[1] != nullptr && !bound[1]->is(Kind::none)) {
    const std::int64_t indent = bound.integer(1, 0);
    if (indent > 100) throw_error(ErrorKind::limit, "tojson: the indent is above 100");
    style.indent = static_cast<int>(std::max<std::int64_t>(0, indent));
    style.item_separator = ",";
  }
  if (bound[2] != nullptr && !bound[2]->is(Kind::none)) {
    const auto pair = iterate(runtime, *bound[2]);
    if (pair.size() != 2 || !pair[0].is(Kind::text) || !pair[1].is(Kind::text)) {
      throw_runtime("tojson: separators must be two strings");
    }
    style.item_separator = pair[0].as_text();
    style.key_separator = pair[1].as_text();
  }
  std::string out;
  append_json(runtime, input, style, out);
  return runtime.own(std::move(out));
}

}  // namespace

FilterFunction find_text_filter(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, FilterFunction>, 18> kFilters = {{
      {"trim", trim},
      {"upper", upper},
      {"lower", lower},
      {"capitalize", capitalize},
      {"title", title},
      {"string", string},
      {"safe", string},
      {"replace", replace},
      {"indent", indent},
      {"center", center},
      {"format", format},
      {"wordcount", wordcount},
      {"truncate", truncate},
      {"abs", absolute},
      {"round", round},
      {"int", to_integer},
      {"float", to_real},
      {"tojson", tojson},
  }};
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

FilterFunction find_filter(std::string_view name) {
  if (const FilterFunction filter = find_text_filter(name)) return filter;
  if (const FilterFunction filter = find_sequence_filter(name)) return filter;
  return find_select_filter(name);
}

}  // namespace leadline::coordinator::jinja
