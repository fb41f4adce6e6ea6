#pragma once
// control_secret: the secret that coordinators and workers share, from its file. Not the proof of it
// (handshake). One reader for both sides: what one takes for the secret, the other must too. Thread: any.

#include <cstddef>
#include <string>

#include "transport/errc.h"

namespace leadline::transport {

inline constexpr std::size_t kMinSecretBytes = 16, kMaxSecretBytes = 4096;

// The file's only line, without its end. "" for no path. configuration, naming the path: not readable,
// several lines, or a length outside the limits.
Result<std::string> read_control_secret(const std::string& path);

}  // namespace leadline::transport
