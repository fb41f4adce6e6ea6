#pragma once
// engine_wishes: the request's own two objects, "speculation" and "kv", read into what the worker is told.
// Not their meaning: the worker knows its methods and refuses what it cannot do. Thread: pure. Invariant: a
// key that is not known is refused by name, since a typing error would silently change what is computed.

#include <cstdint>

#include "coordinator/http/completion_request.h"
#include "coordinator/http/request_fields.h"

namespace leadline::coordinator {

inline constexpr std::int64_t kMaxDraft = 64;                        // tokens of one round
inline constexpr std::int64_t kMaxKvTokens = std::int64_t{1} << 24;  // slots
inline constexpr std::int64_t kMaxKvTtlSeconds = 365LL * 24 * 3'600;

void read_engine_wishes(FieldReader& fields, CompletionRequest& out);

}  // namespace leadline::coordinator
