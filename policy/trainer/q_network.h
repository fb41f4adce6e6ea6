#pragma once
// QNetwork: an Mlp in training: batched passes, gradients, Adam (Kingma and Ba 2015). Not inference
// (policy/mlp) and not an algorithm (offline_q). Thread: one owner.

#include <Eigen/Dense>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/mlp.h"

namespace leadline::policy {

class QNetwork {
 public:
  using Matrix = Eigen::MatrixXf;  // (features, samples)
  // He initialisation from a counter of `seed`.
  QNetwork(std::vector<std::uint32_t> sizes, std::uint64_t seed);

  [[nodiscard]] Matrix run(const Matrix& inputs) const;
  // One step down the Huber loss between chosen outputs and targets, less `push` * (log-sum-exp
  // of the legal outputs - the chosen one) on top: conservative Q-learning's term (Kumar et al. 2020, eq. 4).
  // legal: (outputs, samples) 0 or 1. Returns the mean loss.
  struct Batch {
    Matrix inputs, legal;
    std::vector<int> chosen;  // (samples)
    Eigen::VectorXf targets;  // (samples)
  };
  float train(const Batch& batch, float rate, float push);
  // One step down the same loss over all outputs with `weights` > 0, (outputs, samples).
  float fit(const Matrix& inputs, const Matrix& targets, const Matrix& weights, float rate);
  [[nodiscard]] Mlp to_mlp() const;

 private:
  [[nodiscard]] std::vector<Matrix> activations(const Matrix& inputs) const;
  void descend(const std::vector<Matrix>& x, Matrix gradient, float rate);

  struct Layer {
    Matrix w, w_first, w_second;  // weights and Adam's moments
    Eigen::VectorXf b, b_first, b_second;
  };
  std::vector<std::uint32_t> sizes_;
  std::vector<Layer> layers_;
  std::int64_t steps_ = 0;
};

}  // namespace leadline::policy
