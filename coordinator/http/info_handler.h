#pragma once
// info_handler: the routes that only tell: models, version, the OpenAPI document.
// Thread: the I/O thread.

#include <memory>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

void handle_models(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
void handle_model(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
void handle_version(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);
void handle_openapi(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant);

inline constexpr char kLeadlineVersion[] = "0.1.0";

}  // namespace leadline::coordinator
