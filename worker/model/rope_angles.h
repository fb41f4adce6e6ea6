#pragma once
// The angles of rotary embedding: cos and sin of position * frequency, with the scalings of Llama 3
// ("llama3") and of position interpolation ("linear"), and the tables that steps read them from. Not the
// rotation (Backend::rope_write_kv). Thread: functions are pure; tables belong to the step thread. Made in
// f64, rounded once to f32. Invariant: a table's entries do not depend on when they were filled.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/model/model_config.h"

namespace leadline::worker {

// (head_dim / 2) radians per position, of pair i: theta^(-2i / head_dim), scaled.
std::vector<double> rope_frequencies(const ModelConfig& config);

// Fills cos and sin, each (positions, head_dim / 2), from position `first` on.
void fill_rope_angles(const ModelConfig& config, std::int32_t first, std::span<float> cos,
                      std::span<float> sin);

// The tables on the device, filled as far as steps have reached: a long one takes a second.
class RopeAngles {
 public:
  // `config` and `backend` outlive this.
  Result<void> allocate(const ModelConfig& config, std::int32_t positions, Backend& backend);
  // Before a step's ops. REQUIRES positions below table().max_positions.
  void reach(std::span<const SequenceRows> sequences);
  [[nodiscard]] const RopeTable& table() const { return table_; }

 private:
  const ModelConfig* config_ = nullptr;
  Backend* backend_ = nullptr;
  std::unique_ptr<Buffer> cos_, sin_;  // (positions, head_dim / 2)
  RopeTable table_;
  std::int32_t filled_ = 0;
};

}  // namespace leadline::worker
