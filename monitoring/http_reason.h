#pragma once
// http_reason: the reason phrase of an HTTP status (RFC 9110, section 15) that this project answers with.
// Not for parsing. Thread: any. Invariant: never null; "Status" for what is not listed.

namespace leadline::monitoring {

const char* http_reason(int status);

}  // namespace leadline::monitoring
