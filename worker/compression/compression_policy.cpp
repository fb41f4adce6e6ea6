#include "worker/compression/compression_policy.h"

#include <algorithm>
#include <vector>

#include "monitoring/fnv1a.h"
#include "worker/compression/budget.h"

namespace leadline::worker {

std::uint64_t compression_seed(std::span<const std::int32_t> tokens) {
  monitoring::Fnv1a hash;
  for (const std::int32_t token : tokens) hash.add(static_cast<std::uint32_t>(token));
  return hash.value();
}

const CompressionMethod* find_method(std::string_view name) {
  for (const CompressionMethod& method : compression_methods())
    if (method.name == name) return &method;
  return nullptr;
}

std::string method_names() {
  std::string names;
  for (const CompressionMethod& method : compression_methods())
    names += (names.empty() ? "" : ", ") + std::string(method.name);
  return names;
}

std::string check(const CompressionMethod& method) {
  const MethodTraits& t = method.traits;
  const std::string name(method.name);
  if (name.empty()) return "a method without a name";
  if (method.select == nullptr) return method.budget || method.score ? name + ": nothing selects" : "";
  if (method.budget == nullptr) return name + ": selects without a budget";
  if (t.merges != (method.merge != nullptr)) return name + ": merges and merger disagree";
  if (t.heads_shared && method.score == nullptr) return name + ": heads share scores that nobody makes";
  if (t.reuse != ReuseClass::query_bound && (t.taps & (kTapWindow | kTapColumns)) != 0)
    return name + ": reads queries, so its result is bound to them";
  if (t.reuse == ReuseClass::append && !t.by_threshold)
    return name + ": a budget depends on the whole prompt, so segments cannot be shared";
  return "";
}

bool keeps_everything(const CompressionMethod& method, const CompressionParams& params, std::uint32_t slots) {
  if (method.select == nullptr || slots == 0) return true;
  if (method.traits.by_threshold && params.by_threshold) return params.threshold >= 1;
  return mean_budget(params, slots) >= slots;
}

ReuseClass reuse_of(const CompressionMethod& method, const CompressionParams& params) {
  if (method.traits.reuse != ReuseClass::append) return method.traits.reuse;
  return params.append && params.by_threshold ? ReuseClass::append : ReuseClass::snapshot;
}

std::uint32_t window_rows(const CompressionMethod& method, const CompressionParams& params,
                          std::uint32_t slots) {
  if ((method.traits.taps & kTapWindow) == 0 || keeps_everything(method, params, slots)) return 0;
  const std::uint32_t rows = std::min(params.window, mean_budget(params, slots) / 4);
  return std::clamp(rows, 1U, slots);
}

std::uint32_t compressed_bound(const CompressionMethod& method, const CompressionParams& params,
                               std::uint32_t slots, std::uint32_t layers) {
  constexpr std::uint32_t kSlots = 16;  // of a unit
  std::uint64_t units = 0;
  const bool thresholded = method.traits.by_threshold && params.by_threshold;
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    const std::uint32_t kept = thresholded || keeps_everything(method, params, slots)
                                   ? slots
                                   : method.budget(params, slots, layer, layers);
    units += (kept + kSlots - 1) / kSlots;
  }
  return static_cast<std::uint32_t>((units + layers - 1) / layers);
}

std::uint32_t first_of_group(const CompressionMethod& method, std::uint32_t layer, std::uint32_t layers) {
  if (!method.traits.layers_grouped) return layer;
  const std::uint32_t per_group = (layers + 3) / 4;
  return layer - layer % per_group;
}

SlotGroups decide(const CompressionMethod& method, const CompressionParams& params, const HeadInput& head,
                  std::span<const float> shared_scores) {
  if (keeps_everything(method, params, head.slots)) return all_slots(head.slots);
  const std::uint32_t budget = method.budget(params, head.slots, head.layer, head.layers);
  const bool thresholded = method.traits.by_threshold && params.by_threshold;
  if (budget >= head.slots && !thresholded) return all_slots(head.slots);
  std::vector<float> scores;
  if (shared_scores.empty() && method.score != nullptr) {
    scores.resize(head.slots);
    method.score(head, params, scores);
    shared_scores = scores;
  }
  return method.select(head, params, shared_scores, budget);
}

}  // namespace leadline::worker
