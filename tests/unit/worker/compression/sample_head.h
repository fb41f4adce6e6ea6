#pragma once
// A KV head with all that any method may read, from a seed. Thread: values.

#include <cstdint>
#include <random>
#include <vector>

#include "worker/compression/compression_policy.h"

namespace leadline::tests {

struct SampleHead {
  explicit SampleHead(std::uint32_t slots, std::uint64_t seed = 1, std::uint32_t dim = 24) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    std::exponential_distribution<float> positive;
    keys.resize(std::size_t{slots} * dim);
    values.resize(keys.size());
    for (float& x : keys) x = normal(random);
    for (float& x : values) x = normal(random);
    for (std::uint32_t i = 0; i < slots; ++i) {
      window.push_back(positive(random));
      columns.push_back(positive(random));
      tokens.push_back(static_cast<std::int32_t>(random() % 1000));
      delimiters.push_back(random() % 9 == 0 ? 1 : 0);
    }
    input.layers = 8;
    input.layer = 2;
    input.head = 1;
    input.slots = slots;
    input.head_dim = dim;
    input.seed = 99;
    input.keys = keys;
    input.window = window;
    input.columns = columns;
    input.tokens = tokens;
    input.delimiters = delimiters;
  }
  SampleHead(const SampleHead&) = delete;

  std::vector<float> keys, values, window, columns;
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> delimiters;
  worker::HeadInput input;
};

}  // namespace leadline::tests
