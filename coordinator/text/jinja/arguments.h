#pragma once
// Arguments: what a call gives, and binding it to a callee's parameters. Not evaluation.
// Thread: one rendering.

#include <array>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/runtime.h"
#include "coordinator/text/jinja/value_text.h"

namespace leadline::coordinator::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

// The values of up to six parameters; a null pointer where none was given.
class Bound {
 public:
  // Throws (runtime) for too many or unknown arguments. `callee` is for the message.
  Bound(const Arguments& arguments, std::string_view callee,
        std::initializer_list<std::string_view> parameters) {
    if (arguments.positional.size() > parameters.size()) {
      throw_runtime(std::string(callee) + "() takes at most " + std::to_string(parameters.size()) +
                    " arguments (" + std::to_string(arguments.positional.size()) + " given)");
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      std::size_t index = 0;
      for (const std::string_view parameter : parameters) {
        if (parameter == name) break;
        ++index;
      }
      if (index == parameters.size() || values_[index] != nullptr) {
        throw_runtime(std::string(callee) + "() got an unexpected keyword argument '" + std::string(name) +
                      "'");
      }
      values_[index] = &value;
    }
    callee_ = callee;
  }
  const Value* operator[](std::size_t i) const { return values_[i]; }
  const Value& required(std::size_t i) const {
    if (values_[i] == nullptr) throw_runtime(std::string(callee_) + "() is missing an argument");
    return *values_[i];
  }
  Value or_else(std::size_t i, Value fallback) const {
    return values_[i] != nullptr ? *values_[i] : fallback;
  }
  std::int64_t integer(std::size_t i, std::int64_t fallback) const {
    if (values_[i] == nullptr) return fallback;
    if (!values_[i]->is_integral()) wrong(i, "an integer");
    return values_[i]->as_integer();
  }
  std::string_view text(std::size_t i, std::string_view fallback) const {
    if (values_[i] == nullptr) return fallback;
    if (!values_[i]->is(Kind::text)) wrong(i, "a string");
    return values_[i]->as_text();
  }
  std::string_view text(std::size_t i) const {
    required(i);
    return text(i, {});
  }

 private:
  [[noreturn]] void wrong(std::size_t i, std::string_view wanted) const {
    throw_runtime(std::string(callee_) + "(): argument " + std::to_string(i + 1) + " must be " +
                  std::string(wanted) + ", not '" + std::string(type_name(*values_[i])) + "'");
  }
  std::array<const Value*, 6> values_{};
  std::string_view callee_;
};

}  // namespace leadline::coordinator::jinja
