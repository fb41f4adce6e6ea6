#include "coordinator/http/kv_handler.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "coordinator/http/error_response.h"

namespace leadline::coordinator {

namespace {

using Json = nlohmann::ordered_json;
using transport::KvSource;

constexpr std::string_view kSourceNames[transport::kKvSources] = {"device", "memory", "disk", "redis"};

double ms(std::uint64_t us) {
  return static_cast<double>(us) / 1000;
}

// An id has no character that needs escaping (head_check), so a value is taken as it stands.
std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return std::string(pair.substr(name.size() + 1));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
  }
  return std::nullopt;
}

Json span(std::uint32_t from, std::uint32_t to, std::string_view source) {
  return Json{{"from", from}, {"to", to}, {"source", source}};
}

Json choice_object(const KvHistoryEntry& entry) {
  const GenerationResult& r = entry.result;
  Json out;
  out["index"] = entry.choice;
  out["worker"] = entry.worker;
  out["prompt_tokens"] = r.prompt_tokens;
  out["cached_tokens"] = r.cached_tokens;
  out["spans"] = Json::array();
  std::uint32_t at = 0;
  for (const transport::KvRun& run : r.kv.runs) {
    const std::uint32_t end = std::min(at + run.tokens, r.prompt_tokens);
    if (end > at) out["spans"].push_back(span(at, end, kSourceNames[static_cast<std::size_t>(run.source)]));
    at = end;
  }
  if (at < r.prompt_tokens) out["spans"].push_back(span(at, r.prompt_tokens, "computed"));
  for (std::size_t i = 0; i < transport::kKvSources; ++i) {
    Json tier{{"tokens", r.kv.tokens_from(static_cast<KvSource>(i))}};
    if (i > 0) {
      tier["bytes"] = r.kv.reads[i - 1].bytes;
      tier["read_ms"] = ms(r.kv.reads[i - 1].us);
    }
    out["tiers"][std::string(kSourceNames[i])] = std::move(tier);
  }
  out["offered_tokens"] = r.kv.offered_tokens;
  out["waited_ms"] = ms(r.kv.wait_us);
  out["expected_fetch_ms"] = ms(r.kv.fetch_us);
  const bool known = r.kv.recompute_us > 0;
  out["recompute_ms"] = known ? Json(ms(r.kv.recompute_us)) : Json();
  out["saved_ms"] = known ? Json(ms(r.kv.recompute_us) - ms(r.kv.wait_us)) : Json();
  out["prefill_ms"] = ms(r.prefill_us);
  return out;
}

}  // namespace

void handle_kv_explain(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant) {
  const auto id = query_value(exchange->request().query, "request_id");
  if (!id || id->empty())
    return exchange->respond(
        error_response(Error{Errc::invalid_request, "request_id: missing in the query", "request_id"}));
  const auto choices = services.kv_history.find(tenant.name, *id);
  if (choices.empty())
    return exchange->respond(error_response(
        Error{Errc::not_found, "request_id: not among the last requests that ended here", "request_id"}));
  Json body;
  body["object"] = "kv.explain";
  body["request_id"] = *id;
  body["choices"] = Json::array();
  for (const KvHistoryEntry* entry : choices) body["choices"].push_back(choice_object(*entry));
  HttpResponse response;
  response.headers = {{"Cache-Control", "no-store"}};
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  exchange->respond(std::move(response));
}

}  // namespace leadline::coordinator
