#include "worker/runtime/policy_control.h"

#include <chrono>

#include "monitoring/log.h"

namespace leadline::worker {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

std::string first_words(std::string text) {
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
  return {200, "application/json",
          "{\"policy\": " + quoted(name) + ", \"from\": " + quoted(text_) +
              ", \"puts\": " + std::to_string(slot_.puts()) + "}\n"};
}

monitoring::AdminResponse PolicyControl::put(const monitoring::AdminRequest& request) {
  const std::string text = first_words(request.body);
  {
    const std::lock_guard lock(mutex_);
    if (!serving_) return {503, "application/json", "{\"error\": \"the model is still loading\"}\n"};
    auto policy = policy_from_text(text, source_);
    if (!policy) {
      monitoring::log_warn("policy refused", {{"why", policy.error().message}});
      return {400, "application/json", "{\"error\": " + quoted(policy.error().message) + "}\n"};
    }
    slot_.put(std::move(*policy));
    text_ = text;
  }
  monitoring::log_info("policy in use", {{"policy", text}});
  return show();
}

monitoring::AdminResponse PolicyControl::note(const monitoring::AdminRequest& request,
                                              const SpeculationMetrics& metrics) {
  const std::string word = first_words(request.body);
  const auto outcome = training_outcome(word);
  if (!outcome)
    return {
        400, "application/json",
        "{\"error\": " + quoted("outcome \"" + word + "\": exported, refused, too_little or failed") + "}\n"};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  metrics.training[*outcome].set(std::chrono::duration<double>(now).count());
  monitoring::log_info("policy training", {{"outcome", word}});
  return {200, "application/json", "{\"outcome\": " + quoted(word) + "}\n"};
}

}  // namespace leadline::worker
