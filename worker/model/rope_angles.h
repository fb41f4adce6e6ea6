#pragma once
// The angles of rotary embedding: cos and sin of position * frequency, with the scalings of Llama 3
// ("llama3") and of position interpolation ("linear"). Not the rotation (Backend::rope_write_kv). Thread:
// pure. Made in f64, rounded once to f32.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/model/model_config.h"

namespace leadline::worker {

// (head_dim / 2) radians per position, of pair i: theta^(-2i / head_dim), scaled.
std::vector<double> rope_frequencies(const ModelConfig& config);

// Fills cos and sin, each (positions, head_dim / 2).
void fill_rope_angles(const ModelConfig& config, std::int32_t positions, std::span<float> cos,
                      std::span<float> sin);

}  // namespace leadline::worker
