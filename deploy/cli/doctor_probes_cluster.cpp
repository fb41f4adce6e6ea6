// What is not this machine alone: the exit policy's file, and every worker's admin port.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "deploy/cli/addresses.h"
#include "deploy/cli/doctor_probes.h"
#include "deploy/cli/worker_metrics_text.h"
#include "policy/policy_file.h"
#include "worker/model/model_config.h"

namespace leadline::deploy {
namespace {

constexpr std::chrono::seconds kAnswerLimit{5};
constexpr std::size_t kMostWorkers = 256, kShown = 200;

std::string file_beside(const std::string& directory) {
  std::error_code error;
  std::string first;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string path = entry.path().string();
    if (entry.path().filename().string().starts_with("exit_policy.") && (first.empty() || path < first))
      first = path;
  }
  return first;
}

Result<HttpAnswer> get(HttpClient& http, const std::string& path) {
  HttpRequest request;
  request.path = path;
  request.timeout = kAnswerLimit;
  return http.send(request);
}

WorkerFacts probe_worker(Url url) {
  WorkerFacts facts;
  facts.address = url.authority();
  const auto ask = [&url](const std::string& path) {
    HttpClient http(url, {});  // the admin port keeps no connection
    return get(http, path);
  };
  const auto ready = ask("/readyz");
  if (!ready) {
    facts.error = ready.error().message;
    return facts;
  }
  facts.readyz = ready->status;
  facts.why = ready->body.substr(0, kShown);
  if (const auto metrics = ask("/metrics"); metrics) read_worker_metrics(metrics->body, facts);
  if (const auto policy = ask("/policy"); policy && policy->status == 200) {
    const auto body = nlohmann::json::parse(policy->body, nullptr, false);
    if (body.is_object()) facts.policy = body.value("policy", std::string());
  }
  return facts;
}

}  // namespace

PolicyFacts probe_policy(const std::string& file, const std::string& directory) {
  PolicyFacts facts;
  facts.path = file.empty() ? file_beside(directory) : file;
  if (facts.path.empty()) return facts;
  if (const auto config = worker::ModelConfig::load(directory); config) facts.model_layers = config->layers;
  const auto policy = policy::load_policy(facts.path);
  if (!policy) {
    facts.error = facts.path + ": " + policy.error().message;
    return facts;
  }
  facts.layers = policy->model.layers;
  facts.provenance = policy->provenance;
  return facts;
}

std::vector<WorkerFacts> probe_workers(const std::vector<std::string>& names) {
  std::vector<WorkerFacts> out;
  const auto failed = [&out](const std::string& name, const std::string& why) {
    out.emplace_back();
    out.back().address = name;
    out.back().error = why;
  };
  for (const std::string& name : names) {
    const auto url = parse_url(name);
    if (!url) {
      failed(name, url.error().message);
      continue;
    }
    const auto addresses = addresses_of(*url);
    if (!addresses) failed(name, addresses.error().message);
    if (!addresses) continue;
    for (const std::string& address : *addresses) {
      if (out.size() >= kMostWorkers) return out;
      Url one = *url;
      one.host = address;
      out.push_back(probe_worker(std::move(one)));
    }
  }
  return out;
}

}  // namespace leadline::deploy
