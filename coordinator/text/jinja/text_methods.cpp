// Methods of str, by Python's rules; positions count code points.
#include <algorithm>
#include <array>

#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/python_characters.h"
#include "coordinator/text/jinja/text_cut.h"
#include "coordinator/text/jinja/text_format.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator::jinja {
namespace {

Value strip_method(Runtime&, std::string_view self, const Arguments& arguments, std::string_view name,
                   bool left, bool right) {
  const Bound bound(arguments, name, {"chars"});
  if (bound[0] == nullptr || bound[0]->is(Kind::none)) return Value::text(stripped(self, left, right));
  return Value::text(stripped_of(self, bound.text(0), left, right));
}
Value strip(Runtime& r, std::string_view s, const Arguments& a) {
  return strip_method(r, s, a, "strip", true, true);
}
Value lstrip(Runtime& r, std::string_view s, const Arguments& a) {
  return strip_method(r, s, a, "lstrip", true, false);
}
Value rstrip(Runtime& r, std::string_view s, const Arguments& a) {
  return strip_method(r, s, a, "rstrip", false, true);
}

Value split_method(Runtime& runtime, std::string_view self, const Arguments& arguments, bool from_right) {
  const Bound bound(arguments, from_right ? "rsplit" : "split", {"sep", "maxsplit"});
  const std::int64_t limit = bound.integer(1, -1);
  std::vector<std::string_view> parts;
  if (bound[0] == nullptr || bound[0]->is(Kind::none)) {
    parts = split_on_space(self, limit, from_right);
  } else {
    if (bound.text(0).empty()) throw_runtime("empty separator");
    parts = split_on(self, bound.text(0), limit, from_right);
  }
  std::vector<Value> items;
  runtime.charge_memory(parts.size() * 2 * sizeof(Value));
  for (const std::string_view part : parts) items.push_back(Value::text(part));
  return runtime.list(std::move(items));
}
Value split(Runtime& r, std::string_view s, const Arguments& a) {
  return split_method(r, s, a, false);
}
Value rsplit(Runtime& r, std::string_view s, const Arguments& a) {
  return split_method(r, s, a, true);
}

Value splitlines(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "splitlines", {"keepends"});
  const bool keep = truthy(bound.or_else(0, Value::boolean(false)));
  std::vector<Value> items;
  for (const std::string_view line : lines_of(self, keep)) items.push_back(Value::text(line));
  return runtime.list(std::move(items));
}

// self[start:stop] of find, count, startswith and endswith. `base`: code points before it; valid false: start
// is past the end.
struct Window {
  std::string_view text;
  std::int64_t base = 0;
  bool valid = true;
};
Window window(Runtime& runtime, std::string_view self, const Bound& bound) {
  if (bound[1] == nullptr && bound[2] == nullptr) return {self};
  const auto size = static_cast<std::int64_t>(length_of(runtime, Value::text(self)));
  const auto place = [&](std::size_t i, std::int64_t fallback) {
    if (bound[i] == nullptr || bound[i]->is(Kind::none)) return fallback;
    const std::int64_t v = bound.integer(i, 0);
    return v < 0 ? std::max<std::int64_t>(0, v < -size ? 0 : v + size) : v;
  };
  const std::int64_t start = place(1, 0), stop = std::min(size, place(2, size));
  if (start > stop) return {{}, 0, false};
  std::size_t from = 0;
  for (std::int64_t i = 0; i < start; ++i) from += utf8_step(self, from).length;
  std::size_t to = from;
  for (std::int64_t i = start; i < stop; ++i) to += utf8_step(self, to).length;
  return {self.substr(from, to - from), start, true};
}

Value affix(Runtime& runtime, std::string_view self, const Arguments& arguments, bool start) {
  const Bound bound(arguments, start ? "startswith" : "endswith", {"prefix", "start", "end"});
  const Window part = window(runtime, self, bound);
  const auto matches = [&](const Value& wanted) {
    if (!wanted.is(Kind::text)) {
      require_defined(wanted);
      throw_runtime(std::string(start ? "startswith" : "endswith") +
                    " first arg must be str or a tuple of str");
    }
    return part.valid &&
           (start ? part.text.starts_with(wanted.as_text()) : part.text.ends_with(wanted.as_text()));
  };
  const Value& wanted = bound.required(0);
  if (!wanted.is(Kind::sequence) || wanted.sequence().kind != SequenceKind::tuple)
    return Value::boolean(matches(wanted));
  bool any = false;
  for (const Value& item : wanted.sequence().items) any = matches(item) || any;
  return Value::boolean(any);
}
Value startswith(Runtime& r, std::string_view s, const Arguments& a) {
  return affix(r, s, a, true);
}
Value endswith(Runtime& r, std::string_view s, const Arguments& a) {
  return affix(r, s, a, false);
}

Value search(Runtime& runtime, std::string_view self, const Arguments& arguments, std::string_view name) {
  const Bound bound(arguments, name, {"sub", "start", "end"});
  const std::string_view wanted = bound.text(0);
  const Window part = window(runtime, self, bound);
  const bool last = name.front() == 'r';
  const std::size_t found = !part.valid ? std::string_view::npos
                            : last      ? part.text.rfind(wanted)
                                        : part.text.find(wanted);
  if (found == std::string_view::npos) {
    if (name.ends_with("index")) throw_runtime("substring not found");
    return Value::integer(-1);
  }
  return Value::integer(
      part.base + static_cast<std::int64_t>(length_of(runtime, Value::text(part.text.substr(0, found)))));
}
Value find(Runtime& r, std::string_view s, const Arguments& a) {
  return search(r, s, a, "find");
}
Value rfind(Runtime& r, std::string_view s, const Arguments& a) {
  return search(r, s, a, "rfind");
}
Value index(Runtime& r, std::string_view s, const Arguments& a) {
  return search(r, s, a, "index");
}
Value rindex(Runtime& r, std::string_view s, const Arguments& a) {
  return search(r, s, a, "rindex");
}

Value count(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "count", {"sub", "start", "end"});
  const std::string_view wanted = bound.text(0);
  const Window part = window(runtime, self, bound);
  if (!part.valid) return Value::integer(0);
  if (wanted.empty())
    return Value::integer(static_cast<std::int64_t>(length_of(runtime, Value::text(part.text))) + 1);
  std::int64_t found = 0;
  for (std::size_t at = part.text.find(wanted); at != std::string_view::npos;
       at = part.text.find(wanted, at + wanted.size())) {
    ++found;
  }
  return Value::integer(found);
}

Value replace(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "replace", {"old", "new", "count"});
  bound.required(1);
  return runtime.own(replaced(runtime, self, bound.text(0), bound.text(1), bound.integer(2, -1)));
}

Value upper(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "upper", {});
  return runtime.own(to_upper(self));
}
Value lower(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "lower", {});
  return runtime.own(to_lower(self));
}
Value capitalize(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "capitalize", {});
  return runtime.own(capitalized(self));
}
Value title(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "title", {});
  std::string out;
  bool inside = false;
  for (std::size_t i = 0; i < self.size();) {
    const Utf8Step step = utf8_step(self, i);
    inside ? append_lower(step.code_point, out) : append_upper(step.code_point, out);
    inside = is_alpha(step.code_point);
    i += step.length;
  }
  return runtime.own(std::move(out));
}

Value join(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "join", {"iterable"});
  std::string out;
  std::size_t position = 0;
  for (const Value& item : iterate(runtime, bound.required(0))) {
    if (!item.is(Kind::text)) {
      throw_runtime("sequence item " + std::to_string(position) + ": expected str instance, " +
                    std::string(type_name(item)) + " found");
    }
    if (position++ > 0) out += self;
    out += item.as_text();
    if (out.size() > kMaxOutputBytes) throw_error(ErrorKind::limit, "a joined text is too long");
  }
  return runtime.own(std::move(out));
}

Value format(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  return brace_format(runtime, self, arguments);
}

template <typename Predicate>
Value every(std::string_view self, const Arguments& arguments, Predicate predicate) {
  const Bound bound(arguments, "is...", {});
  for (std::size_t i = 0; i < self.size();) {
    const Utf8Step step = utf8_step(self, i);
    if (!step.valid || !predicate(step.code_point)) return Value::boolean(false);
    i += step.length;
  }
  return Value::boolean(!self.empty());
}
Value isdigit(Runtime&, std::string_view s, const Arguments& a) {
  return every(s, a, is_digit);
}
Value isalpha(Runtime&, std::string_view s, const Arguments& a) {
  return every(s, a, is_alpha);
}
Value isspace(Runtime&, std::string_view s, const Arguments& a) {
  return every(s, a, is_space);
}
Value isalnum(Runtime&, std::string_view s, const Arguments& a) {
  return every(s, a, [](char32_t c) { return is_alpha(c) || is_digit(c); });
}
Value isupper(Runtime&, std::string_view s, const Arguments&) {
  return Value::boolean(is_upper_text(s));
}
Value islower(Runtime&, std::string_view s, const Arguments&) {
  return Value::boolean(is_lower_text(s));
}

Value justify(Runtime& runtime, std::string_view self, const Arguments& arguments, std::string_view name) {
  const Bound bound(arguments, name, {"width", "fillchar"});
  bound.required(0);
  const std::string_view fill = bound.text(1, " ");
  return runtime.own(padded(runtime, self, bound.integer(0, 0), fill,
                            name == "ljust"   ? 'l'
                            : name == "rjust" ? 'r'
                                              : 'c'));
}
Value ljust(Runtime& r, std::string_view s, const Arguments& a) {
  return justify(r, s, a, "ljust");
}
Value rjust(Runtime& r, std::string_view s, const Arguments& a) {
  return justify(r, s, a, "rjust");
}
Value center(Runtime& r, std::string_view s, const Arguments& a) {
  return justify(r, s, a, "center");
}
Value zfill(Runtime& runtime, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "zfill", {"width"});
  bound.required(0);
  const bool sign = !self.empty() && (self.front() == '-' || self.front() == '+');
  return runtime.own(std::string(self.substr(0, sign)) +
                     padded(runtime, self.substr(sign), bound.integer(0, 0) - sign, "0", 'r'));
}

Value removeprefix(Runtime&, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "removeprefix", {"prefix"});
  return Value::text(self.starts_with(bound.text(0)) ? self.substr(bound.text(0).size()) : self);
}
Value removesuffix(Runtime&, std::string_view self, const Arguments& arguments) {
  const Bound bound(arguments, "removesuffix", {"suffix"});
  return Value::text(self.ends_with(bound.text(0)) ? self.substr(0, self.size() - bound.text(0).size())
                                                   : self);
}

Value partition_method(Runtime& runtime, std::string_view self, const Arguments& arguments, bool last) {
  const Bound bound(arguments, last ? "rpartition" : "partition", {"sep"});
  const std::string_view sep = bound.text(0);
  if (sep.empty()) throw_runtime("empty separator");
  const std::size_t at = last ? self.rfind(sep) : self.find(sep);
  std::vector<Value> parts;
  if (at != std::string_view::npos) {
    parts = {Value::text(self.substr(0, at)), Value::text(sep), Value::text(self.substr(at + sep.size()))};
  } else if (last) {
    parts = {Value::text(""), Value::text(""), Value::text(self)};
  } else {
    parts = {Value::text(self), Value::text(""), Value::text("")};
  }
  return runtime.sequence(SequenceKind::tuple, std::move(parts));
}
Value partition(Runtime& r, std::string_view s, const Arguments& a) {
  return partition_method(r, s, a, false);
}
Value rpartition(Runtime& r, std::string_view s, const Arguments& a) {
  return partition_method(r, s, a, true);
}

}  // namespace

TextMethod find_text_method(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, TextMethod>, 34> kMethods = {{
      {"strip", strip},
      {"lstrip", lstrip},
      {"rstrip", rstrip},
      {"split", split},
      {"rsplit", rsplit},
      {"splitlines", splitlines},
      {"startswith", startswith},
      {"endswith", endswith},
      {"find", find},
      {"rfind", rfind},
      {"index", index},
      {"rindex", rindex},
      {"count", count},
      {"replace", replace},
      {"upper", upper},
      {"lower", lower},
      {"capitalize", capitalize},
      {"title", title},
      {"join", join},
      {"format", format},
      {"isdigit", isdigit},
      {"isalpha", isalpha},
      {"isspace", isspace},
      {"isalnum", isalnum},
      {"isupper", isupper},
      {"islower", islower},
      {"ljust", ljust},
      {"rjust", rjust},
      {"center", center},
      {"zfill", zfill},
      {"removeprefix", removeprefix},
      {"removesuffix", removesuffix},
      {"partition", partition},
      {"rpartition", rpartition},
  }};
  for (const auto& [known, method] : kMethods) {
    if (known == name) return method;
  }
  return nullptr;
}

}  // namespace leadline::coordinator::jinja
