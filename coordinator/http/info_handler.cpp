#include "coordinator/http/info_handler.h"

#include <nlohmann/json.hpp>

#include "coordinator/http/api.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/openapi.h"

namespace leadline::coordinator {

namespace {

using Json = nlohmann::ordered_json;

Json model_object(const ServedModel& model, const std::string& name) {
  Json out;
  out["id"] = name;
  out["object"] = "model";
  out["created"] = model.created_unix_s;
  out["owned_by"] = "leadline";
  out["root"] = model.names.front();
  out["parent"] = nullptr;
  out["max_model_len"] = model.max_model_len;
  return out;
}

void answer(Exchange& exchange, const Json& body) {
  HttpResponse response;
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  exchange.respond(std::move(response));
}

}  // namespace

void handle_models(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  Json body;
  body["object"] = "list";
  body["data"] = Json::array();
  for (const std::string& name : services.model.names)
    body["data"].push_back(model_object(services.model, name));
  answer(*exchange, body);
}

void handle_model(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  const std::string name = exchange->request().path.substr(kModelsPrefix.size());
  if (!services.model.serves(name)) {
    return exchange->respond(
        error_response(Error{Errc::not_found, "model: this model is not served here", "model"}));
  }
  answer(*exchange, model_object(services.model, name));
}

void handle_version(Services&, std::shared_ptr<Exchange> exchange, const Tenant&) {
  answer(*exchange, Json{{"version", kLeadlineVersion}});
}

void handle_openapi(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  HttpResponse response;
  response.body = openapi_document(services.limits, services.keys != nullptr);
  exchange->respond(std::move(response));
}

}  // namespace leadline::coordinator
