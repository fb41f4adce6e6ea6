#pragma once
// What can go wrong in the command for people. Not exit statuses: main makes those.

#include "monitoring/error.h"

namespace leadline::deploy {

enum class Errc {
  ok = 0,
  configuration,  // flags, files or a URL that cannot work
  io,             // could not connect, or the connection broke
  timeout,
  interrupted,  // by the person at the terminal
  protocol,     // the answer is not what was expected
  unknown,
};

using Error = monitoring::BasicError<Errc>;
template <typename T>
using Result = tl::expected<T, Error>;
using monitoring::fail;

}  // namespace leadline::deploy
