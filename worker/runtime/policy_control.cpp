#include "worker/runtime/policy_control.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "monitoring/log.h"

namespace leadline::worker {
namespace {

monitoring::AdminResponse respond(int status, const nlohmann::ordered_json& body) {
  // What came in may be any bytes: what is no UTF-8 is shown as U+FFFD.
  return {status, "application/json",
          body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

std::string without_trailing_space(std::string text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
  return text;
}

}  // namespace

void PolicyControl::serve(PolicySource source, std::string text,
                          std::shared_ptr<const policy::ExitPolicy> first) {
  slot_.put(std::move(first));
  const std::lock_guard lock(mutex_);
  source_ = std::move(source);
  text_ = std::move(text);
  serving_ = true;
}

std::vector<monitoring::AdminRoute> PolicyControl::routes(const SpeculationMetrics& metrics) {
  return {{"GET", "/policy", [this](const monitoring::AdminRequest&) { return show(); }},
          {"POST", "/policy", [this](const monitoring::AdminRequest& request) { return put(request); }},
          {"POST", "/policy/training",
           [&metrics](const monitoring::AdminRequest& request) { return note(request, metrics); }}};
}

monitoring::AdminResponse PolicyControl::show() {
  const PolicySlot::Policy policy = slot_.take();
  const std::lock_guard lock(mutex_);
  const std::string name(policy == nullptr ? "off" : policy->name());
  return respond(200, {{"policy", name}, {"from", text_}, {"puts", slot_.puts()}});
}

monitoring::AdminResponse PolicyControl::put(const monitoring::AdminRequest& request) {
  const std::string text = without_trailing_space(request.body);
  {
    const std::lock_guard lock(mutex_);
    if (!serving_) return respond(503, {{"error", "the model is still loading"}});
    auto policy = policy_from_text(text, source_);
    if (!policy) {
      monitoring::log_warn("policy refused", {{"why", policy.error().message}});
      return respond(400, {{"error", policy.error().message}});
    }
    slot_.put(std::move(*policy));
    text_ = text;
  }
  monitoring::log_info("policy in use", {{"policy", text}});
  return show();
}

monitoring::AdminResponse PolicyControl::note(const monitoring::AdminRequest& request,
                                              const SpeculationMetrics& metrics) {
  const std::string word = without_trailing_space(request.body);
  const auto outcome = training_outcome(word);
  if (!outcome)
    return respond(400, {{"error", "outcome \"" + word + "\": exported, refused, too_little or failed"}});
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  metrics.training[*outcome].set(std::chrono::duration<double>(now).count());
  monitoring::log_info("policy training", {{"outcome", word}});
  return respond(200, {{"outcome", word}});
}

}  // namespace leadline::worker
