#include "deploy/cli/load_progress.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "deploy/cli/console.h"
#include "deploy/cli/http_client.h"

namespace leadline::deploy {
namespace {

Result<HttpAnswer> ask(int admin_port, std::string path) {
  HttpClient client({.host = "127.0.0.1", .port = std::to_string(admin_port)}, {});
  HttpRequest request;
  request.path = std::move(path);
  request.timeout = kAskTimeout;
  return client.send(request);
}

std::uint64_t number_at(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

}  // namespace

WorkerProgress read_startup(const std::string& text) {
  const nlohmann::json body = nlohmann::json::parse(text, nullptr, false);
  if (!body.is_object()) return {};
  WorkerProgress progress;
  if (const auto phase = body.find("phase"); phase != body.end() && phase->is_string())
    progress.phase = *phase;
  progress.loaded_bytes = number_at(body, "loaded_bytes");
  progress.total_bytes = number_at(body, "total_bytes");
  return progress;
}

WorkerProgress ask_startup(int admin_port) {
  const auto answer = ask(admin_port, "/startupz");
  return answer ? read_startup(answer->body) : WorkerProgress{};
}

bool ask_ready(int admin_port) {
  const auto answer = ask(admin_port, "/readyz");
  return answer && answer->status == 200;
}

std::string describe_progress(const std::vector<WorkerProgress>& workers, int& percent) {
  std::uint64_t done = 0, total = 0;
  std::string phase = "starting";
  for (const WorkerProgress& worker : workers) {
    done += worker.loaded_bytes;
    total += worker.total_bytes;
    if (!worker.phase.empty() && worker.phase != "ready") phase = worker.phase;
  }
  percent = total > 0 ? static_cast<int>(100 * std::min(done, total) / total) : 0;
  if (total == 0) return "workers: " + phase;
  return (phase == "warming" ? "warming up: " : "loading weights: ") + format_bytes(done) + " of " +
         format_bytes(total) + " (" + std::to_string(percent) + "%)";
}

}  // namespace leadline::deploy
