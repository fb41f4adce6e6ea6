#pragma once
// error_response: an Error -> HTTP status and the nested OpenAI error object. The only such mapping in the
// tree. Messages are ours: they name fields and values, never prompts, paths, addresses or keys. Thread:
// pure.

#include <string>
#include <string_view>

#include "coordinator/errc.h"
#include "coordinator/http/http_message.h"

namespace leadline::coordinator {

// 400..503 for every Errc.
int http_status(Errc code);

// {"error":{"message","type","param","code"}}; type and code follow from the status. `param` is null when
// empty.
std::string error_body(int status, std::string_view message, std::string_view param,
                       std::string_view code = {});

// Whole response; 401 has WWW-Authenticate, 429 and 503 have Retry-After.
HttpResponse error_response(const Error& error, unsigned retry_after_s = 1);
HttpResponse error_response(int status, std::string_view message, std::string_view code = {});

// The body of an error that ends a stream which has already begun.
std::string error_event(const Error& error);

}  // namespace leadline::coordinator
