#include "coordinator/http/console_handler.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "coordinator/console/console_files.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/info_handler.h"

namespace leadline::coordinator {

namespace {

using Json = nlohmann::ordered_json;

// Only our own files and our own API; no inline script or style; a string can't become markup or code.
constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

std::uint64_t whole(const monitoring::Counter& counter) {
  return static_cast<std::uint64_t>(counter.value());
}

Json worker_object(const WorkerView& worker) {
  Json out;
  out["worker"] = worker.id.value;
  out["state"] = state_name(worker);
  out["ranks"] = worker.ranks;
  out["running"] = worker.running;
  out["waiting"] = worker.waiting;
  out["in_flight"] = worker.in_flight;
  out["max_sequences"] = worker.max_sequences;
  out["kv_pages_used"] = worker.pages_used;
  out["kv_pages_total"] = worker.pages_total;
  out["loaded_bytes"] = worker.loaded_bytes;
  out["total_bytes"] = worker.total_bytes;
  return out;
}

// Shares and means; what never happened is left out, so that the page shows no figure for it.
void add_engine(const EngineTotals& totals, Json& body) {
  const auto ratio = [](std::uint64_t part, std::uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  if (totals.drafted_tokens > 0) {
    body["speculation"]["acceptance"] = ratio(totals.accepted_tokens, totals.drafted_tokens);
    if (totals.layered_tokens > 0)
      body["speculation"]["mean_exit_layer"] = ratio(totals.draft_layers, totals.layered_tokens);
  }
  const std::pair<const char*, std::uint64_t> tiers[] = {{"device", totals.device_tokens},
                                                         {"memory", totals.memory_tokens},
                                                         {"disk", totals.disk_tokens},
                                                         {"redis", totals.redis_tokens}};
  for (const auto& [name, tokens] : tiers)
    if (tokens > 0) body["kv_tiers"][name] = ratio(tokens, totals.prompt_tokens);
}

}  // namespace

std::string_view state_name(const WorkerView& worker) {
  if (worker.link == LinkState::refused) return "refused";  // secret, version or model differ
  if (worker.link != LinkState::connected) return "connecting";
  if (worker.phase == transport::WorkerPhase::failed) return "failed";
  if (worker.draining || worker.phase == transport::WorkerPhase::draining) return "draining";
  if (worker.stalled) return "stalled";
  return worker.ready() ? "ready" : "loading";
}

void handle_console(Services&, std::shared_ptr<Exchange> exchange, const Tenant&) {
  const std::string& path = exchange->request().path;
  const std::string_view name =
      path == "/" ? std::string_view("index.html") : std::string_view(path).substr(kConsolePrefix.size());
  const auto files = console_files();
  const auto found = std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.name == name; });
  if (found == files.end()) {
    return exchange->respond(error_response(Error{Errc::not_found, "there is no such path here", {}}));
  }
  HttpResponse response;
  response.content_type = std::string(found->content_type);
  response.body = std::string(found->bytes);
  response.headers = {{"Content-Security-Policy", kContentSecurityPolicy},
                      {"Cache-Control", "no-cache"},
                      {"Referrer-Policy", "no-referrer"},
                      {"X-Frame-Options", "DENY"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  exchange->respond(std::move(response));
}

void handle_status(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  const Dispatcher& dispatcher = services.dispatcher;
  const CoordinatorMetrics& metrics = services.metrics;
  Json body;
  body["version"] = kLeadlineVersion;
  body["time_ms"] = services.now_ms();
  body["draining"] = dispatcher.draining();
  body["requests"] = {{"running", dispatcher.running()},
                      {"waiting", dispatcher.waiting()},
                      {"max_waiting", services.limits.waiting_requests}};
  body["tokens"] = {{"generated_total", whole(metrics.generation_tokens)},
                    {"prompt_computed_total", whole(metrics.prompt_tokens[PromptSource::computed])},
                    {"prompt_cached_total", whole(metrics.prompt_tokens[PromptSource::cached])}};
  add_engine(dispatcher.engine_totals(), body);
  body["workers"] = Json::array();
  if (const FleetSnapshot* fleet = dispatcher.fleet_snapshot()) {
    for (const WorkerView& worker : fleet->workers) body["workers"].push_back(worker_object(worker));
  }
  HttpResponse response;
  response.headers = {{"Cache-Control", "no-store"}};
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  exchange->respond(std::move(response));
}

}  // namespace leadline::coordinator
