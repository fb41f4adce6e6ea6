#include "policy/trainer/offline_q.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "policy/trainer/q_network.h"

namespace leadline::policy {
namespace {

// The gradient that train() follows, against finite differences: one tiny step changes the loss as it should.
TEST(QNetwork, DescendsItsLoss) {
  QNetwork net({3, 16, 2}, 1);
  std::mt19937 random(2);
  QNetwork::Batch batch;
  batch.inputs =
      QNetwork::Matrix::NullaryExpr(3, 64, [&] { return std::normal_distribution<float>(0, 1)(random); });
  batch.legal = QNetwork::Matrix::Ones(2, 64);
  batch.targets.resize(64);
  for (int s = 0; s < 64; ++s) {
    batch.chosen.push_back(s % 2);
    batch.targets[s] = batch.inputs(0, s) * batch.inputs(1, s);
  }
  const float first = net.train(batch, 3e-3F, 0);
  float last = first;
  for (int i = 0; i < 1500; ++i) last = net.train(batch, 3e-3F, 0);
  EXPECT_LT(last, 0.05F * first);
}

// Two states in a row; the best action of the first is bad at once and good later.
TEST(TrainQ, LooksAhead) {
  Transitions data;
  data.inputs = 1;
  data.outputs = 2;
  const auto add = [&](float state, int action, float reward, bool end) {
    data.states.push_back(state);
    data.next_states.push_back(1);
    for (int o = 0; o < 2; ++o) {
      data.legal.push_back(1);
      data.next_legal.push_back(1);
    }
    data.chosen.push_back(action);
    data.returns.push_back(reward);
    data.discounts.push_back(end ? 0.0F : 1.0F);
  };
  for (int i = 0; i < 50; ++i) {
    add(-1, 0, 0.5F, true);    // take a little and end
    add(-1, 1, -0.2F, false);  // pay, go on
    add(1, 0, 2, true);
    add(1, 1, 0, true);
  }
  QOptions options;
  options.steps = 3000;
  options.target_every = 100;
  options.hidden = {16};
  const Mlp net = train_q(data, options);
  float q[2];
  const float first = -1, second = 1;
  net.run({&first, 1}, q);
  EXPECT_NEAR(q[0], 0.5, 0.1);
  EXPECT_NEAR(q[1], 1.8, 0.15);
  net.run({&second, 1}, q);
  EXPECT_NEAR(q[0], 2.0, 0.1);
}

// The conservative term lowers what the data does not show.
TEST(TrainQ, TheConservativeTermLowersUnseenActions) {
  Transitions data;
  data.inputs = 1;
  data.outputs = 2;
  for (int i = 0; i < 64; ++i) {
    data.states.push_back(0.5F);
    data.next_states.push_back(0.5F);
    data.legal.insert(data.legal.end(), {1, 1});
    data.next_legal.insert(data.next_legal.end(), {1, 1});
    data.chosen.push_back(0);
    data.returns.push_back(1);
    data.discounts.push_back(0);
  }
  QOptions options;
  options.steps = 4000;
  options.hidden = {8};
  options.conservative = 0.5F;
  float q[2];
  const float state = 0.5F;
  train_q(data, options).run({&state, 1}, q);
  EXPECT_LT(q[1], q[0] - 1);
}

TEST(TrainQ, IsReproducible) {
  Transitions data;
  data.inputs = 1;
  data.outputs = 1;
  for (int i = 0; i < 8; ++i) {
    data.states.push_back(static_cast<float>(i));
    data.next_states.push_back(0);
    data.legal.push_back(1);
    data.next_legal.push_back(1);
    data.chosen.push_back(0);
    data.returns.push_back(static_cast<float>(i % 3));
    data.discounts.push_back(0);
  }
  QOptions options;
  options.steps = 50;
  EXPECT_EQ(train_q(data, options).weights, train_q(data, options).weights);
}

}  // namespace
}  // namespace leadline::policy
