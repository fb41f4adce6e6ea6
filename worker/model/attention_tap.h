#pragma once
// AttentionTap: sees the rotated queries of a pass, layer by layer, for whoever scores slots by them. Not
// part of the arithmetic: it changes nothing. Thread: the step thread, within forward.

#include <cstdint>
#include <span>

#include "worker/backend/kv_view.h"
#include "worker/backend/tensor.h"

namespace leadline::worker {

class AttentionTap {
 public:
  virtual ~AttentionTap() = default;
  // After K and V of `layer` were written: the rows' queries are the first columns of qkv. `sequences` are
  // the pass's first ones, with their KV tables of this layer. Host memory only.
  virtual void see(std::int32_t layer, ConstFloatMatrix qkv, std::span<const SequenceRows> sequences) = 0;
};

}  // namespace leadline::worker
