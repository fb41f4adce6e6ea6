#pragma once
// Weights: one rank's share of a checkpoint as immutable device tensors, one field per tensor with its shape.
// Not the file (weight_file) and not the forward pass (transformer). Thread: made once, then immutable.
// Invariants: linear layers are packed in one format; norms and biases are f32 as the checkpoint has them;
// the embedding table stays in the mapped file. Destroyed before backend and WeightFile. Shapes: D hidden, Hq
// and Hk this rank's query and KV heads, d head_dim, F this rank's FFN channels, V its vocabulary rows.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/model/model_config.h"
#include "worker/model/shard_plan.h"
#include "worker/model/weight_file.h"

namespace leadline::worker {

// Packed matrices that were made before, by the name of their first tensor.
class PackedSource {
 public:
  virtual ~PackedSource() = default;
  virtual Result<std::unique_ptr<PackedMatrix>> find(const std::string& name, const PackedShape& shape,
                                                     Backend& backend) = 0;
};

struct LayerWeights {
  std::span<const float> attention_norm;  // (D)
  std::unique_ptr<PackedMatrix> qkv;      // ((Hq + 2 Hk) d, D): q, k, v stacked
  std::span<const float> qkv_bias;        // ((Hq + 2 Hk) d) or empty
  std::unique_ptr<PackedMatrix> kv;       // (2 Hk d, D): k, v stacked; null unless the plan says kv_alone
  std::span<const float> q_norm, k_norm;  // (d) or empty
  std::unique_ptr<PackedMatrix> o;        // (D, Hq d), o_slices
  std::span<const float> o_bias;          // (D) or empty; added once, after the sum over ranks
  std::span<const float> ffn_norm;        // (D)
  std::unique_ptr<PackedMatrix> gate_up;  // (2 F, D): gate, up stacked
  std::span<const float> gate_up_bias;    // (2 F) or empty
  std::unique_ptr<PackedMatrix> down;     // (D, F), down_slices
  std::span<const float> down_bias;       // (D) or empty; added once, after the sum over ranks
};

struct Weights {
  WeightPart embedding;                    // (all V, D), in the mapped file, or in embedding_copy
  std::unique_ptr<Buffer> embedding_copy;  // where the device cannot read the file
  std::vector<LayerWeights> layers;
  std::span<const float> final_norm;   // (D)
  std::unique_ptr<PackedMatrix> head;  // (V, D); null where this rank's share is empty
  DType format = DType::f32;
  std::vector<std::unique_ptr<Buffer>> vectors;  // what the spans above point into
  std::int64_t bytes = 0;                        // of packed matrices and vectors
  struct Named {
    std::string name;
    const PackedMatrix* matrix;
  };
  std::vector<Named> matrices;  // all of the above, in the order of loading

  // done, total: bytes of this rank's share of the checkpoint.
  using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;
  struct LoadOptions {
    DType format = DType::f32;
    Progress progress;
    PackedSource* packed = nullptr;  // matrices come from there; null: they are packed
  };
  // malformed_file or unsupported_model naming the tensor; out_of_memory from the backend; what `packed`
  // fails with.
  static Result<Weights> load(const WeightFile& file, const ModelConfig& config, const ShardPlan& plan,
                              const LoadOptions& options, Backend& backend);
};

// "auto" | "f32" | "bf16" | "f16" | "int8" -> the format to pack in; auto is what config.json says, else the
// tensors' own type.
Result<DType> weight_format(const std::string& wanted, const ModelConfig& config, const WeightFile& file);

}  // namespace leadline::worker
