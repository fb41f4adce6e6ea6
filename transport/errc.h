#pragma once
// What can go wrong between processes. Not HTTP statuses (coordinator/http/error_response) and not wire codes
// (codec).

#include "monitoring/error.h"

namespace leadline::transport {

enum class Errc {
  ok = 0,
  closed,         // the peer ended the connection
  timeout,        // a deadline passed
  refused,        // handshake: secret, version or fingerprint
  malformed,      // bytes that are not a frame or message of this protocol
  too_large,      // beyond a stated limit
  rank_lost,      // a rank of the group died or stalled; the message names it
  configuration,  // flags or environment that cannot work
  io,
  unknown,
};

using Error = monitoring::BasicError<Errc>;
template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace leadline::transport
