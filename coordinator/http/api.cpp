#include "coordinator/http/api.h"

#include "coordinator/http/completion_handler.h"
#include "coordinator/http/console_handler.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/head_check.h"
#include "coordinator/http/info_handler.h"
#include "coordinator/http/kv_handler.h"
#include "coordinator/http/tokenize_handler.h"

namespace leadline::coordinator {

namespace {

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", false, true, handle_chat_completions, "Answer a chat"},
    {"POST", "/v1/completions", false, true, handle_completions, "Continue one or more prompts"},
    {"GET", "/v1/models", false, false, handle_models, "List the served models"},
    {"GET", "/v1/models/*", false, false, handle_model, "Describe one served model"},
    {"POST", "/tokenize", false, true, handle_tokenize, "Text or messages to token ids"},
    {"POST", "/detokenize", false, true, handle_detokenize, "Token ids to text"},
    {"GET", "/version", false, false, handle_version, "The server's version"},
    {"GET", "/openapi.json", false, false, handle_openapi, "This document"},
    {"GET", "/v1/leadline/status", false, false, handle_status, "Queue, tokens and workers now"},
    {"GET", "/v1/kv/explain", false, false, handle_kv_explain,
     "Where the KV of a request's prompt came from, and what computing it would have cost"},
    {"GET", "/", true, false, handle_console, "The web console", true},
    {"GET", "/console/*", true, false, handle_console, "A file of the web console", true},
};

bool path_matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with('*')) return pattern == path;
  pattern.remove_suffix(1);
  return path.size() > pattern.size() && path.starts_with(pattern);
}

bool method_matches(std::string_view route, std::string_view method) {
  return route == method || (route == "GET" && method == "HEAD");
}

bool is_json_type(std::string_view content_type) {
  const std::string_view type = content_type.substr(0, content_type.find(';'));
  const std::string lower = lower_case(type.substr(0, type.find_last_not_of(" \t") + 1));
  return lower == "application/json" || (lower.starts_with("application/") && lower.ends_with("+json"));
}

}  // namespace

std::span<const Route> routes() {
  return kRoutes;
}

Api::Match Api::match(const HttpRequest& request) const {
  Match result;
  for (const Route& route : kRoutes) {
    if (route.console && !services_.console) continue;
    if (!path_matches(route.path, request.path)) continue;
    if (method_matches(route.method, request.method)) result.route = &route;
    if (!result.allow.empty()) result.allow += ", ";
    result.allow += std::string(route.method) + (route.method == "GET" ? ", HEAD" : "");
  }
  if (!result.allow.empty()) result.allow += ", OPTIONS";
  return result;
}

std::optional<Tenant> Api::tenant_of(const HttpRequest& request) const {
  if (services_.keys == nullptr) return Tenant{};
  return services_.keys->authenticate(request.header("authorization"));
}

std::optional<HttpResponse> Api::check_head(const HttpRequest& request) const {
  const Match found = match(request);
  const bool open = found.route != nullptr && found.route->open;
  if (!open && !tenant_of(request)) {
    services_.metrics.requests_rejected[Rejection::unauthorized].inc();
    return error_response(
        Error{Errc::unauthorized, "a valid API key is needed: Authorization: Bearer KEY", {}});
  }
  if (request.method == "OPTIONS" && (!found.allow.empty() || request.path == "*")) {
    HttpResponse response;
    response.status = 204;
    if (!found.allow.empty()) response.headers.emplace_back("Allow", found.allow);
    return response;
  }
  if (found.allow.empty()) return error_response(Error{Errc::not_found, "there is no such path here", {}});
  if (found.route == nullptr) {
    HttpResponse response =
        error_response(Error{Errc::method_not_allowed, "this path does not take this method", {}});
    response.headers.emplace_back("Allow", found.allow);
    return response;
  }
  const auto encoding = request.header("content-encoding");
  if (!encoding.empty() && !equals_ignoring_case(encoding, "identity")) {
    return error_response(415, "Content-Encoding is not supported: send the body as it is");
  }
  const auto type = request.header("content-type");
  if (found.route->json_body && !type.empty() && !is_json_type(type)) {
    return error_response(415, "Content-Type must be application/json");
  }
  return std::nullopt;
}

void Api::handle(std::shared_ptr<Exchange> exchange) const {
  const Match found = match(exchange->request());
  const auto tenant = tenant_of(exchange->request());
  if (found.route == nullptr)
    return exchange->respond(error_response(Error{Errc::not_found, "there is no such path here", {}}));
  if (!tenant && !found.route->open) {  // the keys were reloaded while the body came in
    return exchange->respond(error_response(Error{Errc::unauthorized, "the API key is no longer valid", {}}));
  }
  found.route->handle(services_, std::move(exchange), tenant.value_or(Tenant{}));
}

}  // namespace leadline::coordinator
