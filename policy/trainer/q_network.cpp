#include "policy/trainer/q_network.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace leadline::policy {

namespace {

constexpr float kHuber = 5;  // rounds win tokens by the dozen at most: means, not medians

}  // namespace

QNetwork::QNetwork(std::vector<std::uint32_t> sizes, std::uint64_t seed) : sizes_(std::move(sizes)) {
  std::mt19937_64 random(seed);
  for (std::size_t i = 1; i < sizes_.size(); ++i) {
    std::normal_distribution<float> normal(0, std::sqrt(2.0F / static_cast<float>(sizes_[i - 1])));
    Layer layer;
    layer.w = Matrix::NullaryExpr(sizes_[i], sizes_[i - 1], [&] { return normal(random); });
    layer.b = Eigen::VectorXf::Zero(sizes_[i]);
    layer.w_first = layer.w_second = Matrix::Zero(sizes_[i], sizes_[i - 1]);
    layer.b_first = layer.b_second = layer.b;
    layers_.push_back(std::move(layer));
  }
}

QNetwork::Matrix QNetwork::run(const Matrix& inputs) const {
  Matrix x = inputs;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x = (layers_[i].w * x).colwise() + layers_[i].b;
    if (i + 1 < layers_.size()) x = x.cwiseMax(0.0F);
  }
  return x;
}

std::vector<QNetwork::Matrix> QNetwork::activations(const Matrix& inputs) const {
  std::vector<Matrix> x{inputs};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Matrix next = (layers_[i].w * x.back()).colwise() + layers_[i].b;
    if (i + 1 < layers_.size()) next = next.cwiseMax(0.0F);
    x.push_back(std::move(next));
  }
  return x;
}

float QNetwork::fit(const Matrix& inputs, const Matrix& targets, const Matrix& weights, float rate) {
  const std::vector<Matrix> x = activations(inputs);
  const float share = 1.0F / std::max(weights.sum(), 1.0F);
  const Matrix error = x.back() - targets, felt = error.cwiseMax(-kHuber).cwiseMin(kHuber);
  const float loss = weights.cwiseProduct(felt).cwiseProduct(error - felt / 2).sum() * share;
  descend(x, weights.cwiseProduct(felt) * share, rate);
  return loss;
}

float QNetwork::train(const Batch& batch, float rate, float push) {
  const std::vector<Matrix> x = activations(batch.inputs);
  const Eigen::Index samples = batch.inputs.cols();
  const float share = 1.0F / static_cast<float>(samples);
  Matrix gradient = Matrix::Zero(x.back().rows(), samples);
  float loss = 0;
  for (Eigen::Index s = 0; s < samples; ++s) {
    const auto chosen = static_cast<Eigen::Index>(batch.chosen[static_cast<std::size_t>(s)]);
    const float error = x.back()(chosen, s) - batch.targets[s];
    const float most_felt = std::clamp(error, -kHuber, kHuber);
    loss += most_felt * (error - most_felt / 2);
    gradient(chosen, s) += most_felt * share;
    if (push <= 0) continue;
    float most = -1e30F, mass = 0;
    for (Eigen::Index o = 0; o < x.back().rows(); ++o)
      if (batch.legal(o, s) > 0) most = std::max(most, x.back()(o, s));
    for (Eigen::Index o = 0; o < x.back().rows(); ++o)
      if (batch.legal(o, s) > 0) mass += std::exp(x.back()(o, s) - most);
    for (Eigen::Index o = 0; o < x.back().rows(); ++o)
      if (batch.legal(o, s) > 0) gradient(o, s) += push * share * std::exp(x.back()(o, s) - most) / mass;
    gradient(chosen, s) -= push * share;
  }
  descend(x, std::move(gradient), rate);
  return loss * share;
}

// Adam.
void QNetwork::descend(const std::vector<Matrix>& x, Matrix gradient, float rate) {
  ++steps_;
  constexpr float kFirst = 0.9F, kSecond = 0.999F, kEps = 1e-8F;
  const auto steps = static_cast<float>(steps_);
  const float step = rate * std::sqrt(1 - std::pow(kSecond, steps)) / (1 - std::pow(kFirst, steps));
  const auto adam = [&](auto& value, auto& first, auto& second, const auto& g) {
    first = kFirst * first + (1 - kFirst) * g;
    second = kSecond * second + (1 - kSecond) * g.cwiseProduct(g);
    value -= step * first.cwiseQuotient((second.cwiseSqrt().array() + kEps).matrix());
  };
  for (std::size_t i = layers_.size(); i-- > 0;) {
    Layer& layer = layers_[i];
    const Matrix gw = gradient * x[i].transpose();
    const Eigen::VectorXf gb = gradient.rowwise().sum();
    if (i > 0)
      gradient =
          (layer.w.transpose() * gradient).cwiseProduct((x[i].array() > 0).cast<float>().matrix()).eval();
    adam(layer.w, layer.w_first, layer.w_second, gw);
    adam(layer.b, layer.b_first, layer.b_second, gb);
  }
}

Mlp QNetwork::to_mlp() const {
  Mlp mlp;
  mlp.sizes = sizes_;
  for (const Layer& layer : layers_) {
    for (Eigen::Index o = 0; o < layer.w.rows(); ++o)
      for (Eigen::Index i = 0; i < layer.w.cols(); ++i) mlp.weights.push_back(layer.w(o, i));
    for (Eigen::Index o = 0; o < layer.b.size(); ++o) mlp.weights.push_back(layer.b[o]);
  }
  return mlp;
}

}  // namespace leadline::policy
