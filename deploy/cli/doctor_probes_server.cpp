// A running server: version, workers, readiness and the time to one token.
#include <nlohmann/json.hpp>

#include "deploy/cli/doctor_probes.h"

namespace leadline::deploy {
namespace {

using nlohmann::json;
constexpr std::chrono::seconds kAnswerLimit{10};

Result<json> get_json(HttpClient& http, const std::string& path, const std::string& key) {
  HttpRequest request;
  request.path = path;
  request.api_key = key;
  request.timeout = kAnswerLimit;
  auto answer = http.send(request);
  if (!answer) return tl::unexpected(answer.error());
  json body = json::parse(answer->body, nullptr, false);
  if (answer->status != 200) return fail(Errc::protocol, path + " answers " + std::to_string(answer->status));
  if (!body.is_object()) return fail(Errc::protocol, path + " does not answer as a Leadline server would");
  return body;
}

// Older servers have no status: that is not an error.
void read_workers(HttpClient& http, const std::string& key, ServerFacts& facts) {
  const auto status = get_json(http, "/v1/leadline/status", key);
  if (!status || !status->contains("workers") || !(*status)["workers"].is_array()) return;
  facts.workers = facts.ready_workers = 0;
  for (const json& worker : (*status)["workers"]) {
    ++facts.workers;
    if (worker.is_object() && worker.contains("state") && worker["state"] == "ready") ++facts.ready_workers;
  }
}

void read_readiness(const std::string& admin_url, const StreamOptions& options, ServerFacts& facts) {
  const auto url = parse_url(admin_url);
  if (!url) {
    facts.error = "--admin-url: " + url.error().message;
    return;
  }
  HttpClient http(*url, options);
  HttpRequest request;
  request.path = "/readyz";
  request.timeout = kAnswerLimit;
  const auto answer = http.send(request);
  if (answer) facts.readyz = answer->status;
  if (!answer) facts.error = "/readyz: " + answer.error().message;
}

Result<double> time_one_token(const ServerOptions& options) {
  auto api = ApiClient::create(options);
  if (!api) return tl::unexpected(api.error());
  const auto model = api->model();
  if (!model) return tl::unexpected(model.error());
  const json body = {
      {"model", *model}, {"prompt", "Hello"}, {"max_tokens", 1}, {"temperature", 0}, {"ignore_eos", true}};
  const auto start = std::chrono::steady_clock::now();
  const auto answer = api->generate("/v1/completions", body.dump());
  if (!answer) return tl::unexpected(answer.error());
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ServerFacts probe_server(const ServerOptions& given, const std::string& admin_url) {
  ServerFacts facts;
  ServerOptions options = given;
  options.timeout_seconds = 60;
  facts.url = options.url;
  const auto url = parse_url(options.url);
  if (!url) {
    facts.error = url.error().message;
    return facts;
  }
  const StreamOptions stream{options.ca_file, options.insecure, -1};
  HttpClient http(*url, stream);
  const auto version = get_json(http, "/version", options.api_key);
  if (!version) {
    facts.error = version.error().message;
    return facts;
  }
  facts.version = version->value("version", std::string("?"));
  read_workers(http, options.api_key, facts);
  if (!admin_url.empty()) read_readiness(admin_url, stream, facts);
  if (!facts.error.empty() || (facts.readyz && *facts.readyz != 200)) return facts;
  const auto first = time_one_token(options);
  if (first) facts.first_token_ms = *first;
  if (!first) facts.error = first.error().message;
  return facts;
}

}  // namespace leadline::deploy
