#pragma once
// console_handler: the web console's files, and the status that its live strip shows. The files need no key
// (a page can't send one before it is loaded); the status does. Not the page itself (coordinator/console).
// Thread: the I/O thread. Invariants: status reads counts that exist already and names no address, key,
// tenant or prompt; a file answer carries the content security policy that forbids everything foreign.

#include <memory>
#include <string>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

inline constexpr std::string_view kConsolePrefix = "/console/";

// GET / and GET /console/NAME.
void handle_console(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
// GET /v1/leadline/status: queue, running, counters since start, each worker's state.
void handle_status(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);

// "connecting", "refused", "loading", "ready", "stalled", "draining" or "failed".
std::string_view state_name(const WorkerView& worker);

}  // namespace leadline::coordinator
