#pragma once
// How long to wait before the next attempt: backoff_pause after a failure that costs something,
// refused_pause while nobody listens. Pure: the randomness is passed in.
// Thread: any.

#include <algorithm>
#include <chrono>

namespace leadline::transport {

// first * 2^(failures - 1), at most limit, times 0.5 to 1.5 by `fraction` in [0, 1). REQUIRES failures >= 1.
inline std::chrono::milliseconds backoff_pause(int failures, std::chrono::milliseconds first,
                                               std::chrono::milliseconds limit, double fraction) {
  const auto doubled = first.count() << std::min(failures - 1, 20);
  const auto bounded = std::min<long long>(doubled, limit.count());
  return std::chrono::milliseconds(static_cast<long long>(static_cast<double>(bounded) * (0.5 + fraction)));
}

// A refused connection is cheap, and whoever is not there yet may be starting: a sixteenth of the time since
// the first refusal, so that a start is found late by that share of itself; 5 ms to limit, times 0.5 to 1.5.
inline std::chrono::milliseconds refused_pause(std::chrono::milliseconds since_first,
                                               std::chrono::milliseconds limit, double fraction) {
  const auto bounded = std::min<long long>(std::max<long long>(since_first.count() / 16, 5), limit.count());
  return std::chrono::milliseconds(static_cast<long long>(static_cast<double>(bounded) * (0.5 + fraction)));
}

}  // namespace leadline::transport
