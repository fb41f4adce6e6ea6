#pragma once
// completion_handler: one HTTP completion from body to answer: parse and tokenise on the text pool,
// admission, one generation per choice, and the answer as events or whole. The only orchestration of a
// request. Thread: the I/O thread.

#include <memory>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

void handle_chat_completions(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
void handle_completions(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);

}  // namespace leadline::coordinator
