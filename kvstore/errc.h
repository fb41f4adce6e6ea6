#pragma once
// What can go wrong in the block store when it is opened or its flags are read. Not the outcomes of a get or
// a put (tier.h): a missing, damaged or unreachable block is a normal answer there.

#include "monitoring/error.h"

namespace leadline::kvstore {

enum class Errc {
  ok = 0,
  configuration,  // a flag that cannot work: the message names flag and value
  malformed,      // bytes that are not a block, or not of this version
  io,
  unavailable,  // a tier that cannot be reached now
  unknown,
};

using Error = monitoring::BasicError<Errc>;
template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace leadline::kvstore
