#pragma once
// backoff_pause: how long to wait before the next attempt. Pure: the randomness is passed in.
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

}  // namespace leadline::transport
