#include "policy/trainer/batch_field.h"

#include <algorithm>
#include <cmath>

namespace leadline::policy {
namespace {

// Less than one row is one in some of the steps.
template <typename Time>
double time_of(double rows, const Time& time) {
  return rows < 1 ? rows * time(1.0) : time(rows);
}

}  // namespace

BatchField::BatchField(const DecodeTrace& trace, const CostTable& costs) : trace_(trace), costs_(costs) {}

BatchField::BatchField(const DecodeTrace& trace, const CostTable& costs, std::int32_t batch,
                       const Company& shown, double context)
    : trace_(trace), costs_(costs), batch_(batch), context_(context) {
  const double sequences = shown.steps * batch, others = batch - 1;
  for (const PassRows& rows : shown.passes) passes_.push_back(pass_of(rows, sequences));
  PassRows nobody{std::vector<double>(trace.exits.size()), std::vector<double>(trace.exits.size())};
  passes_.push_back(pass_of(nobody, sequences));
  others_rows_.assign(trace.exits.size() + 1, 0.0);
  for (const auto& [shape, count] : shown.verified) {
    const auto& [depth, rows] = shape;
    const double each = others * count * rows / sequences;
    others_heads_ += each;
    for (std::size_t e = 0; e < others_rows_.size(); ++e)
      if (depth <= (e == 0 ? 0 : trace.exits[e - 1])) others_rows_[e] += each;
  }
  step_us_ = shown.us / sequences - mean_added(shown);
}

// The mean of what one more row takes, each of the others being there with probability `share`.
template <typename Time>
double BatchField::added(double share, const Time& time) const {
  const std::int32_t others = batch_ - 1;
  const double p = std::clamp(share, 0.0, 1.0);
  double sum = 0;
  for (std::int32_t k = 0; k <= others; ++k) {
    const double ways = std::exp(std::lgamma(others + 1) - std::lgamma(k + 1) - std::lgamma(others - k + 1));
    sum += ways * std::pow(p, k) * std::pow(1 - p, others - k) * (time(k + 1.0) - (k == 0 ? 0 : time(k)));
  }
  return sum;
}

BatchField::Pass BatchField::pass_of(const PassRows& rows, double sequences) const {
  Pass made;
  std::int32_t below = 0;
  for (std::size_t e = 0; e < trace_.exits.size(); ++e) {
    const auto layer = [&](double n) { return costs_.layer_us(n, context_); };
    made.layers.push_back((trace_.exits[e] - below) * added(rows.layers[e] / sequences, layer));
    made.heads.push_back(added(rows.heads[e] / sequences,
                               [&](double n) { return costs_.head_us(n) + n * costs_.probe_us(); }));
    below = trace_.exits[e];
  }
  made.pass = added(rows.layers.empty() ? 0 : rows.layers[0] / sequences,
                    [&](double n) { return n > 0 ? costs_.pass_us() : 0; });
  return made;
}

const BatchField::Pass& BatchField::pass(std::int32_t number) const {
  return passes_[std::min(static_cast<std::size_t>(number - 1), passes_.size() - 1)];
}

double BatchField::pass_us(std::int32_t number) const {
  return batch_ == 1 ? costs_.pass_us() : pass(number).pass;
}

double BatchField::layers_us(std::int32_t number, std::int32_t first, std::int32_t last,
                             double context) const {
  if (batch_ == 1) return (last - first) * costs_.layer_us(1, context);
  double us = 0;
  for (std::size_t e = 0; e < trace_.exits.size(); ++e)
    if (trace_.exits[e] > first && trace_.exits[e] <= last) us += pass(number).layers[e];
  return us;
}

double BatchField::head_us(std::int32_t number, std::int32_t layer) const {
  if (batch_ == 1) return costs_.head_us(1) + costs_.probe_us();
  const auto at = std::ranges::find(trace_.exits, layer) - trace_.exits.begin();
  return pass(number).heads[static_cast<std::size_t>(at)];
}

double BatchField::verified_us(std::int32_t depth, double rows, double context) const {
  const auto layer = [&](double n) { return costs_.layer_us(n, context); };
  const auto head = [&](double n) { return costs_.head_us(n); };
  double us = time_of(others_heads_ + rows, head) - time_of(others_heads_, head) + rows * costs_.probe_us();
  for (std::size_t e = 0; e < others_rows_.size(); ++e) {
    const std::int32_t from = e == 0 ? 0 : trace_.exits[e - 1];
    const std::int32_t to = e < trace_.exits.size() ? trace_.exits[e] : trace_.layers;
    if (from < depth) continue;
    us += (to - from) * (time_of(others_rows_[e] + rows, layer) - time_of(others_rows_[e], layer));
  }
  return us;
}

double BatchField::verify_us(std::int32_t depth, std::int32_t rows, double context) const {
  if (batch_ == 1)
    return costs_.pass_us() + (trace_.layers - depth) * costs_.layer_us(rows, context) +
           costs_.head_us(rows) + rows * costs_.probe_us();
  return verified_us(depth, rows, context_);
}

// By a sequence in a step.
double BatchField::mean_added(const Company& shown) const {
  double us = 0;
  for (std::size_t j = 0; j < shown.passes.size(); ++j) {
    const PassRows& rows = shown.passes[j];
    us += rows.layers[0] * passes_[j].pass;
    for (std::size_t e = 0; e < trace_.exits.size(); ++e)
      us += rows.layers[e] * passes_[j].layers[e] + rows.heads[e] * passes_[j].heads[e];
  }
  for (const auto& [shape, count] : shown.verified)
    us += count * verified_us(shape.first, shape.second, context_);
  return us / (shown.steps * batch_);
}

}  // namespace leadline::policy
