#pragma once
// tokenize_handler: POST /tokenize (prompt, or messages through the chat template) and POST /detokenize. No
// generation, no worker. Thread: the I/O thread; the work runs on the text pool.

#include <memory>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

void handle_tokenize(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
void handle_detokenize(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);

// The pure part of both: body -> body. Shown for tests and for the fuzzer.
Result<std::string> tokenize_body(const Services& services, const std::string& body);
Result<std::string> detokenize_body(const Services& services, const std::string& body);

}  // namespace leadline::coordinator
