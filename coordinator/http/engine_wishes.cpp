#include "coordinator/http/engine_wishes.h"

#include <algorithm>
#include <span>
#include <utility>

namespace leadline::coordinator {

namespace {

using nlohmann::json;
using transport::SpeculationMode;

// The object at `name`, or null; a wrong type or a key outside `known` is the fault.
const json* object_at(FieldReader& fields, const char* name, std::span<const char* const> known) {
  const json* value = fields.find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) {
    fields.reject(name, "must be an object, not " + show_value(*value));
    return nullptr;
  }
  for (const auto& [key, unused] : value->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fields.reject(std::string(name) + "." + key, "is not known");
      return nullptr;
    }
  }
  return value;
}

// A fault of the inner object under its whole name.
void pass_on(FieldReader& fields, const FieldReader& inner, const char* name) {
  if (inner.ok()) return;
  const Error& fault = inner.fault();
  const std::string prefix = fault.param + ": ";
  const std::string message =
      fault.message.starts_with(prefix) ? fault.message.substr(prefix.size()) : fault.message;
  fields.reject(std::string(name) + "." + fault.param, message, fault.code);
}

void read_speculation(FieldReader& fields, CompletionRequest& out) {
  constexpr const char* kKnown[] = {"mode", "max_draft"};
  const json* object = object_at(fields, "speculation", kKnown);
  if (object == nullptr) return;
  FieldReader inner(*object);
  std::string mode = "auto";
  inner.text("mode", mode, 16);
  constexpr std::pair<const char*, SpeculationMode> kModes[] = {{"auto", SpeculationMode::automatic},
                                                                {"off", SpeculationMode::off},
                                                                {"static", SpeculationMode::fixed},
                                                                {"learned", SpeculationMode::learned}};
  const auto* found =
      std::find_if(std::begin(kModes), std::end(kModes), [&](const auto& m) { return mode == m.first; });
  if (found == std::end(kModes))
    inner.reject("mode", "must be auto, off, static or learned, not " + show_value(json(mode)));
  else
    out.speculation.mode = found->second;
  inner.integer("max_draft", out.speculation.max_draft, 1, kMaxDraft);
  pass_on(fields, inner, "speculation");
}

void read_kv(FieldReader& fields, CompletionRequest& out) {
  constexpr const char* kKnown[] = {"compression", "budget", "tokens", "threshold",
                                    "pin_system",  "store",  "ttl_s"};
  const json* object = object_at(fields, "kv", kKnown);
  if (object == nullptr) return;
  FieldReader inner(*object);
  inner.text("compression", out.kv.compression, 64);
  inner.number("budget", out.kv.budget, 0, 1, true);
  inner.integer("tokens", out.kv.budget_tokens, 1, kMaxKvTokens);
  if (out.kv.budget > 0 && out.kv.budget_tokens > 0) inner.reject("tokens", "excludes budget");
  if (inner.find("threshold") != nullptr) {
    float threshold = 0;
    inner.number("threshold", threshold, -1, 1);
    out.kv.threshold = threshold;
  }
  const bool shapes = out.kv.budget > 0 || out.kv.budget_tokens > 0 || out.kv.threshold;
  if (out.kv.compression == "exact" && shapes)
    inner.reject("compression", "exact keeps everything: it takes no budget, tokens or threshold");
  inner.boolean("pin_system", out.pin_system);
  inner.boolean("store", out.kv.store);
  inner.integer("ttl_s", out.kv.ttl_s, 1, kMaxKvTtlSeconds);
  if (!out.kv.store && out.kv.ttl_s > 0) inner.reject("ttl_s", "has no meaning with store: false");
  pass_on(fields, inner, "kv");
}

}  // namespace

void read_engine_wishes(FieldReader& fields, CompletionRequest& out) {
  read_speculation(fields, out);
  read_kv(fields, out);
}

}  // namespace leadline::coordinator
