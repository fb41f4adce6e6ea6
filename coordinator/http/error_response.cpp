#include "coordinator/http/error_response.h"

#include <nlohmann/json.hpp>

namespace leadline::coordinator {

namespace {

struct StatusWords {
  int status;
  const char* type;
  const char* code;
};

// type as OpenAI's clients know it; code as the machine-readable reason when the caller gives none.
constexpr StatusWords kWords[] = {
    {400, "invalid_request_error", "invalid_value"},
    {401, "authentication_error", "invalid_api_key"},
    {403, "permission_error", "permission_denied"},
    {404, "not_found_error", "not_found"},
    {405, "invalid_request_error", "method_not_allowed"},
    {408, "timeout_error", "request_timeout"},
    {413, "invalid_request_error", "request_too_large"},
    {414, "invalid_request_error", "uri_too_long"},
    {415, "invalid_request_error", "unsupported_media_type"},
    {417, "invalid_request_error", "expectation_failed"},
    {429, "rate_limit_error", "rate_limit_exceeded"},
    {431, "invalid_request_error", "headers_too_large"},
    {500, "server_error", "internal_error"},
    {501, "invalid_request_error", "not_implemented"},
    {503, "service_unavailable_error", "service_unavailable"},
    {505, "invalid_request_error", "http_version_not_supported"},
};

const StatusWords& words_of(int status) {
  for (const auto& words : kWords) {
    if (words.status == status) return words;
  }
  return kWords[12];  // 500
}

std::string_view code_of(Errc code) {
  switch (code) {
    case Errc::unsupported:
      return "unsupported_value";
    case Errc::request_timeout:
      return "deadline_exceeded";
    case Errc::ok:
    case Errc::invalid_request:
    case Errc::unauthorized:
    case Errc::not_found:
    case Errc::method_not_allowed:
    case Errc::too_large:
    case Errc::overloaded:
    case Errc::unavailable:
    case Errc::malformed_file:
    case Errc::configuration:
    case Errc::io:
    case Errc::internal:
    case Errc::unknown:
      return {};
  }
  return {};
}

}  // namespace

int http_status(Errc code) {
  switch (code) {
    case Errc::invalid_request:
    case Errc::unsupported:
      return 400;
    case Errc::unauthorized:
      return 401;
    case Errc::not_found:
      return 404;
    case Errc::method_not_allowed:
      return 405;
    case Errc::request_timeout:
      return 408;
    case Errc::too_large:
      return 413;
    case Errc::overloaded:
      return 429;
    case Errc::unavailable:
      return 503;
    case Errc::ok:
    case Errc::malformed_file:
    case Errc::configuration:
    case Errc::io:
    case Errc::internal:
    case Errc::unknown:
      return 500;
  }
  return 500;
}

std::string error_body(int status, std::string_view message, std::string_view param, std::string_view code) {
  const StatusWords& words = words_of(status);
  nlohmann::ordered_json error;
  error["message"] = message;
  error["type"] = words.type;
  error["param"] = param.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(param);
  error["code"] = code.empty() ? std::string_view(words.code) : code;
  nlohmann::ordered_json body;
  body["error"] = std::move(error);
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse error_response(const Error& error, unsigned retry_after_s) {
  HttpResponse response;
  response.status = http_status(error.code);
  const bool unknown_model = error.code == Errc::not_found && error.param == "model";
  response.body = error_body(response.status, error.message, error.param,
                             unknown_model ? std::string_view("model_not_found") : code_of(error.code));
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (response.status == 429 || response.status == 503) {
    response.headers.emplace_back("Retry-After", std::to_string(retry_after_s));
  }
  return response;
}

HttpResponse error_response(int status, std::string_view message, std::string_view code) {
  HttpResponse response;
  response.status = status;
  response.body = error_body(status, message, {}, code);
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

std::string error_event(const Error& error) {
  return error_body(http_status(error.code), error.message, error.param, code_of(error.code));
}

}  // namespace leadline::coordinator
