#pragma once
// kv_handler: GET /v1/kv/explain?request_id=ID: which prompt tokens of an earlier request came from which
// tier, how long that took, and what computing them would have cost. Values of KvHistory; no decision.
// Thread: the I/O thread.

#include <memory>
#include <string_view>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

inline constexpr std::string_view kKvExplainPath = "/v1/kv/explain";

void handle_kv_explain(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);

}  // namespace leadline::coordinator
