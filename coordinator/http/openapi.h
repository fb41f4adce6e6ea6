#pragma once
// openapi: the OpenAPI 3.1 document, made from the route table and the limits, so that it can't disagree with
// them. Thread: pure.

#include <string>

#include "coordinator/limits.h"

namespace leadline::coordinator {

std::string openapi_document(const Limits& limits, bool needs_key);

}  // namespace leadline::coordinator
