#include "policy/trainer/offline_q.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "monitoring/check.h"
#include "policy/trainer/q_network.h"

namespace leadline::policy {
namespace {

using Matrix = QNetwork::Matrix;

// Columns `picked` of a (samples, width) table.
template <typename T>
Matrix columns(const std::vector<T>& table, std::size_t width, const std::vector<std::size_t>& picked) {
  Matrix out(static_cast<Eigen::Index>(width), static_cast<Eigen::Index>(picked.size()));
  for (std::size_t s = 0; s < picked.size(); ++s)
    for (std::size_t i = 0; i < width; ++i)
      out(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(s)) =
          static_cast<float>(table[picked[s] * width + i]);
  return out;
}

}  // namespace

Mlp train_q(const Transitions& data, const QOptions& options) {
  LEADLINE_CHECK(data.size() > 0, "transitions to learn from");
  std::vector<std::uint32_t> sizes{static_cast<std::uint32_t>(data.inputs)};
  sizes.insert(sizes.end(), options.hidden.begin(), options.hidden.end());
  sizes.push_back(static_cast<std::uint32_t>(data.outputs));
  QNetwork net(sizes, options.seed), target = net;
  std::mt19937_64 random(options.seed + 1);
  float recent = 0;
  for (int step = 0; step < options.steps; ++step) {
    std::vector<std::size_t> picked(static_cast<std::size_t>(options.batch));
    for (std::size_t& p : picked) p = random() % data.size();
    QNetwork::Batch batch;
    batch.inputs = columns(data.states, data.inputs, picked);
    batch.legal = columns(data.legal, data.outputs, picked);
    const Matrix next = columns(data.next_states, data.inputs, picked);
    const Matrix next_legal = columns(data.next_legal, data.outputs, picked);
    // Double Q-learning (van Hasselt et al. 2016): the net chooses, the target network values.
    const Matrix choice = net.run(next), value = target.run(next);
    batch.targets.resize(options.batch);
    for (std::size_t s = 0; s < picked.size(); ++s) {
      const auto column = static_cast<Eigen::Index>(s);
      float most = -std::numeric_limits<float>::infinity(), ahead = 0;
      for (Eigen::Index o = 0; o < choice.rows(); ++o) {
        if (next_legal(o, column) <= 0 || choice(o, column) <= most) continue;
        most = choice(o, column);
        ahead = value(o, column);
      }
      batch.targets[column] = data.returns[picked[s]] + data.discounts[picked[s]] * ahead;
      batch.chosen.push_back(data.chosen[picked[s]]);
    }
    const float along = static_cast<float>(step) / static_cast<float>(options.steps);
    const float rate = options.rate * (0.1F + 0.45F * (1 + std::cos(3.14159265F * along)));
    const float loss = net.train(batch, rate, options.conservative);
    recent = step == 0 ? loss : 0.99F * recent + 0.01F * loss;
    if ((step + 1) % options.target_every == 0) target = net;
    if (options.progress && (step + 1) % options.report_every == 0) options.progress(step + 1, recent);
  }
  return net.to_mlp();
}

}  // namespace leadline::policy
