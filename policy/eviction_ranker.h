#pragma once
// EvictionRanker: a learned reuse predictor for the kvstore tiers: six features of a block -> seconds until
// it is used again. A small network (6 -> 16 -> 16 -> 1, ReLU) on logarithms, a few hundred nanoseconds a
// block. Supervised reuse prediction (as LRB, NSDI 2020, does; Cold-RL's Q-learning is not followed, see
// seed_methods 5.1). Knows no blocks: worker/runtime and deploy/cli adapt it to kvstore's ReuseRanker.
// File: docs/formats/eviction_ranker.md, bounded and checked; refused if made for other features.
// Thread: immutable after loading; any. Invariant: predict() is finite and > 0 for finite features.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "policy/errc.h"

namespace leadline::policy {

inline constexpr std::size_t kEvictionFeatures = 6;
using EvictionFeatures = std::array<float, kEvictionFeatures>;
// Names in order; their hash is in every file.
inline constexpr const char* kEvictionFeatureNames[kEvictionFeatures] = {
    "age_s", "kib", "uses", "between_uses_s", "idle_s", "cost_ms"};
[[nodiscard]] std::uint64_t eviction_schema_hash();

struct EvictionNetwork {
  static constexpr std::size_t kHidden = 16;
  std::array<float, kEvictionFeatures> mean{}, deviation{};  // of log1p(feature); clipped at 5 deviations
  std::array<float, kHidden * kEvictionFeatures> w1{};
  std::array<float, kHidden> b1{};
  std::array<float, kHidden * kHidden> w2{};
  std::array<float, kHidden> b2{};
  std::array<float, kHidden> w3{};
  float b3 = 0;
  float horizon_s = 0;  // of the training: predictions end there
};

class EvictionRanker {
 public:
  // malformed_file, schema_mismatch.
  [[nodiscard]] static Result<EvictionRanker> from_bytes(std::span<const std::byte> bytes);
  [[nodiscard]] static Result<EvictionRanker> load(const std::string& path);  // and io
  [[nodiscard]] std::vector<std::byte> to_bytes() const;
  [[nodiscard]] Result<void> save(const std::string& path) const;  // atomic: a whole file or the old one

  EvictionRanker(const EvictionNetwork& network, std::string provenance)
      : network_(network), provenance_(std::move(provenance)) {}
  // Seconds until the block is used again, in (0, horizon_s].
  [[nodiscard]] float predict(const EvictionFeatures& features) const;
  [[nodiscard]] const EvictionNetwork& network() const { return network_; }
  [[nodiscard]] const std::string& provenance() const { return provenance_; }  // for people

 private:
  EvictionNetwork network_;
  std::string provenance_;
};

}  // namespace leadline::policy
