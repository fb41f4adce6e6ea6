#pragma once
// What can go wrong in monitoring itself. Not the errors that it reports for others.

#include "monitoring/error.h"

namespace leadline::monitoring {

enum class Errc {
  ok = 0,
  configuration,  // an address or port that cannot be used
  io,
  unknown,
};

using Error = BasicError<Errc>;
template <typename T>
using Result = BasicResult<T, Errc>;

}  // namespace leadline::monitoring
