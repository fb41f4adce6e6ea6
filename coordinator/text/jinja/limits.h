#pragma once
// The bounds of one template and one rendering. Not configuration: no supported checkpoint comes near them.
// Thread: constants.

#include <cstddef>

namespace leadline::coordinator::jinja {

inline constexpr std::size_t kMaxSourceBytes = 1 << 20;
inline constexpr int kMaxSyntaxDepth = 120;  // nesting of one expression or block; bounds the parser's stack
inline constexpr int kMaxCallDepth = 1500;   // nested evaluations over all macros; bounds the render's stack
inline constexpr int kMaxValueDepth = 100;   // nesting of lists and dicts, in and out
inline constexpr std::size_t kMaxSteps =
    8'000'000;  // one per node evaluated, and one per 64 bytes or 8 items touched
inline constexpr std::size_t kMaxArenaBytes = 192 << 20;  // everything a rendering makes before it ends
inline constexpr std::size_t kMaxOutputBytes = 32 << 20;
inline constexpr std::size_t kMaxRangeItems = 100'000;  // as jinja2's sandbox

}  // namespace leadline::coordinator::jinja
