#pragma once
// json_guard: the only way in which bytes of a client become JSON: depth and number of values are counted
// before a single value is built, so that hostile nesting costs a scan of the text and nothing else. Not a
// schema. Thread: pure.

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "coordinator/errc.h"
#include "coordinator/limits.h"

namespace leadline::coordinator {

// ok, or too deep / too many values. Says nothing about being well-formed. O(text), no allocation.
Result<void> check_json_shape(std::string_view text, const Limits& limits);

// A JSON object, or invalid_request that says where (byte offset, never the text itself).
Result<nlohmann::json> parse_json_object(std::string_view text, const Limits& limits);

}  // namespace leadline::coordinator
