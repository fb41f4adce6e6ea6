#include "worker/compression/task_classifier.h"

#include <algorithm>

#include "monitoring/check.h"

namespace leadline::worker {

TaskClassifier::TaskClassifier(std::vector<float> weights, float bias, std::uint32_t vocab)
    : weights_(std::move(weights)), bias_(bias), vocab_(vocab) {
  LEADLINE_CHECK(vocab > 0 && weights_.size() == kParts.size() * vocab,
                 "a weight for every part and token id");
}

WindowTask TaskClassifier::classify(std::span<const std::int32_t> prompt) const {
  if (prompt.empty()) return WindowTask::localisation;
  double logit = bias_;
  for (std::size_t part = 0; part < kParts.size(); ++part) {
    const bool from_start = kParts[part] > 0;
    const std::size_t count =
        std::min(prompt.size(), static_cast<std::size_t>(from_start ? kParts[part] : -kParts[part]));
    const std::span<const std::int32_t> ids = from_start ? prompt.first(count) : prompt.last(count);
    double sum = 0;
    for (const std::int32_t id : ids)
      if (id >= 0 && static_cast<std::uint32_t>(id) < vocab_)
        sum += weights_[part * vocab_ + static_cast<std::size_t>(id)];
    logit += sum / static_cast<double>(count);
  }
  return logit > 0 ? WindowTask::aggregation : WindowTask::localisation;
}

}  // namespace leadline::worker
