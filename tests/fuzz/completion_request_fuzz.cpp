// Bytes as the body of a completion (first byte: which endpoint): never a crash, and what is accepted keeps
// every limit.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "coordinator/http/completion_request.h"
#include "coordinator/http/json_guard.h"
#include "monitoring/check.h"

using namespace leadline::coordinator;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const Limits limits;
  static const ServedModel model = [] {
    ServedModel m;
    m.names = {"m"};
    m.max_model_len = 128;
    m.vocab_size = 100;
    return m;
  }();
  const Endpoint endpoint = data[0] % 2 == 0 ? Endpoint::chat : Endpoint::completions;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto body = parse_json_object(text, limits);
  if (!body) {
    LEADLINE_CHECK(body.error().code == Errc::invalid_request, "the wrong error for a bad body");
    return 0;
  }
  auto request = parse_completion_request(endpoint, *body, {limits, model, 1});
  if (!request) {
    LEADLINE_CHECK(!request.error().message.empty() && !request.error().param.empty(),
                   "an error that names nothing");
    return 0;
  }
  const auto& s = request->sampling;
  LEADLINE_CHECK(request->n >= 1 && request->n <= limits.n, "n");
  LEADLINE_CHECK(
      s.temperature >= 0 && s.temperature <= 2 && s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 && s.min_p < 1,
      "sampling");
  LEADLINE_CHECK(s.top_logprobs >= -1 && s.top_logprobs <= limits.top_logprobs, "top_logprobs");
  LEADLINE_CHECK(
      !request->max_tokens || (*request->max_tokens >= 1 && *request->max_tokens <= model.max_model_len),
      "max_tokens");
  LEADLINE_CHECK(request->stops.size() <= limits.stops && s.logit_bias.size() <= limits.logit_bias, "counts");
  LEADLINE_CHECK((endpoint == Endpoint::chat) == request->prompts.empty(), "prompts");
  for (const auto& stop : request->stops)
    LEADLINE_CHECK(!stop.empty() && stop.size() <= limits.stop_bytes, "stop");
  return 0;
}
