#pragma once
// Cutting, padding and replacing of texts, shared by text methods and filters. Views point into their input.
// Thread: pure functions (the Runtime only counts what is spent).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/jinja/runtime.h"

namespace leadline::coordinator::jinja {

std::string_view stripped(std::string_view text, bool left, bool right);  // of white space
std::string_view stripped_of(std::string_view text, std::string_view characters, bool left, bool right);
// limit < 0: no limit. sep is not empty.
std::vector<std::string_view> split_on(std::string_view text, std::string_view sep, std::int64_t limit,
                                       bool from_right);
std::vector<std::string_view> split_on_space(std::string_view text, std::int64_t limit, bool from_right);
std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends);  // str.splitlines
std::string replaced(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t limit);
// side: 'l' pads at the right, 'r' at the left, 'c' around. fill is one character; width in code points.
std::string padded(Runtime& runtime, std::string_view text, std::int64_t width, std::string_view fill,
                   char side);
bool is_upper_text(std::string_view text);
bool is_lower_text(std::string_view text);

}  // namespace leadline::coordinator::jinja
