#pragma once
// What can go wrong with a policy: its file, its log, its training. Not worker errors: a worker that gets one
// of these keeps the policy it has.

#include "monitoring/error.h"

namespace leadline::policy {

enum class Errc {
  ok = 0,
  malformed_file,   // not a policy file or log, or damaged: the message says where
  schema_mismatch,  // made for other features
  model_mismatch,   // made for another model
  too_large,        // a limit of the format: the message has both numbers
  configuration,    // options that cannot work: the message names them
  not_better,       // training: nothing to export, the message has the numbers
  io,
  unknown,
};

using Error = monitoring::BasicError<Errc>;
template <typename T>
using Result = monitoring::BasicResult<T, Errc>;

}  // namespace leadline::policy
