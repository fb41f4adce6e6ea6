#pragma once
// The rules that every message's values keep on the wire, in both directions: limits (CodecLimits) and ranges
// (messages.h). Not the wire form itself (codec). Errors name field and value: too_large for a limit,
// malformed for a range. Thread: pure functions.

#include "transport/control/messages.h"
#include "transport/errc.h"

namespace leadline::transport {

Result<void> check_rules(const Hello& m);
Result<void> check_rules(const Welcome& m);
Result<void> check_rules(const Confirm& m);
Result<void> check_rules(const Refusal& m);
Result<void> check_rules(const Ping& m);
Result<void> check_rules(const Pong& m);
Result<void> check_rules(const Generate& m);
Result<void> check_rules(const Cancel& m);
Result<void> check_rules(const Drain& m);
Result<void> check_rules(const TokenBatch& m);
Result<void> check_rules(const Finish& m);
Result<void> check_rules(const Status& m);

}  // namespace leadline::transport
