#pragma once
// What can go wrong inside a worker. Not wire codes (transport/control/codec) and not finish reasons.

#include "monitoring/error.h"

namespace leadline::worker {

enum class Errc {
  ok = 0,
  unsupported_model,  // config.json asks for what is not built: the message names field and value
  malformed_file,     // checkpoint, tokenizer or policy file that is not what it claims
  not_found,
  configuration,  // flags that cannot work together: the message names both
  out_of_memory,  // the message has the numbers
  rank_lost,      // from the communicator; ends the worker
  io,
  unknown,
};

using Error = monitoring::BasicError<Errc>;
template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace leadline::worker
