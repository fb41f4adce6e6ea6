#pragma once
// What can go wrong in the coordinator. HTTP statuses are made from these in http/error_response and nowhere
// else.

#include "monitoring/error.h"

namespace leadline::coordinator {

enum class Errc {
  ok = 0,
  invalid_request,  // the client's field and value are in the message
  unauthorized,
  not_found,  // route or model
  method_not_allowed,
  request_timeout,
  too_large,
  overloaded,   // 429: try again later
  unavailable,  // 503: no ready worker, draining
  unsupported,  // a model file, template or request that asks for what is not built
  malformed_file,
  configuration,
  io,
  internal,
  unknown,
};

struct Error {
  Errc code = Errc::unknown;
  std::string message;
  std::string param;  // the request's field, "" when none
};
template <typename T>
using Result = tl::expected<T, Error>;
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string message, std::string param = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(param)});
}

}  // namespace leadline::coordinator
