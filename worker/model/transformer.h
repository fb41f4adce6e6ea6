#pragma once
// Transformer: the forward pass of a Llama-family model on one rank, top to bottom. Not a batcher (the
// StepPlan says what runs) and not a sampler. Rows may leave at any layer and join again there: a round of
// speculation drafts with passes that end early and verifies with one that starts where they ended. Thread:
// the step thread. Owns weights and activations; borrows backend and communicator, which outlive it.
// Invariants: every rank calls forward with the same batch; logits are whole (all ranks' vocabulary shares)
// on rank 0 only; a row's bits do not depend on where passes were cut.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "transport/collective/communicator.h"
#include "worker/backend/backend.h"
#include "worker/model/attention_tap.h"
#include "worker/model/model_config.h"

namespace leadline::worker {

class WeightFile;

struct LayerRange {  // [first, last)
  std::int32_t first = 0, last = 0;
  friend bool operator==(const LayerRange&, const LayerRange&) = default;
};

// After `layer` layers the hidden state of `row` also goes to a kept slot: what its exit there says can be
// read.
struct ExitTap {
  std::int32_t layer = 0, row = 0, slot = 0;
};
// Logits of exit_slots from the `first` on, device memory where logits_stay; on rank 0 only.
using ExitReader = std::function<void(std::size_t first, ConstFloatMatrix logits)>;

struct StepBatch {
  std::span<const std::int32_t> tokens;      // (rows); of rows that join above layer 0 not read
  std::span<const SequenceRows> sequences;   // cover all rows in order; kv.base for layer 0, kv.scale set
  std::uint32_t layer_unit_step = 0;         // added to kv.base per layer (uniform layout: local KV heads)
  std::span<const std::int32_t> logit_rows;  // ascending row indices whose logits are wanted, at their exit
  // Per sequence the layers that its rows run; empty: all layers for all. At every layer the sequences that
  // run it must be the first ones of the batch: drafts in descending order of exit, or joins in ascending
  // order of entry. Final norm and head read a row where it left.
  std::span<const LayerRange> layers;
  std::span<const std::int32_t> kept_in;  // kept slots of the rows that join above layer 0, in row order
  bool logits_stay = false;    // logits come as device memory: the backend samples or makes features of them
  std::int32_t kept_out = -1;  // >= 0: what all rows left with goes to kept slots kept_out, kept_out + 1, ...
  AttentionTap* tap = nullptr;
  std::span<const ExitTap> exit_taps;  // by ascending layer
  // Kept slots whose logits are read before the batch's own, after the layers; on a device: logits_stay.
  std::span<const std::int32_t> exit_slots;
  const ExitReader* exit_reader = nullptr;
};

struct TransformerOptions {
  std::string model_directory;
  const WeightFile* source = nullptr;  // instead of model_directory; outlives the transformer
  std::string weights = "auto";        // auto (the checkpoint's own dtype) | f32 | bf16 | f16 | int8
  std::int32_t max_rows = 512;         // rows of one step, sizes the activations
  std::int32_t max_logit_rows = 64;    // rows with logits of one step
  // > 0: only so many layers from the first, for a draft rank: the model's own head on them, K and V of what
  // drafting ran are kept too, and write_kv works. Has no fingerprint.
  std::int32_t first_layers = 0;
  std::int32_t max_kept_rows = 0;     // slots for hidden states between passes; 0: rows run all layers only
  std::int32_t max_positions = 4096;  // RoPE table
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes of weights read
  // Packed weights are kept in this directory and read from it (packed_cache); "": they are packed each time.
  std::string packed_directory;
  std::int64_t packed_least_bytes =
      0;  // of a rank's weights in their format: below it nothing is written or looked for
  bool packed_mapped = true;  // the file is mapped where that can be had; false: read
  // What was mapped moves into memory then: by this time a worker has warmed up.
  std::chrono::milliseconds packed_move_after{300};
  std::function<void(std::string_view message)> log;  // of the above, from any thread; null: silent
};

// Rows that a draft rank ran, for a rank that did not. Sequences and rows are in descending order of exit.
struct DraftedRows {
  std::span<const SequenceRows> sequences;  // tables of this rank's pool, kv.base 0
  std::span<const std::int32_t> exits;      // per sequence: layers that its rows have run
  std::uint32_t layer_unit_step = 0;
  ConstFloatMatrix hidden;  // (rows, D), device memory
  ConstFloatMatrix kv;  // (rows, layers * 2 Hkv d): per layer K, then V of all heads, before norm and RoPE
};

class Transformer {
 public:
  static Result<std::unique_ptr<Transformer>> load(const ModelConfig& config,
                                                   const TransformerOptions& options, Backend& backend,
                                                   transport::Communicator& ranks);
  virtual ~Transformer() = default;

  // Runs the layers asked for, writes KV into `pool`, returns logits [logit_rows, vocab] on rank 0
  // (elsewhere: no rows); valid until the next call. Fails only with rank_lost.
  virtual Result<ConstFloatMatrix> forward(const StepBatch& batch, KvPool& pool) = 0;

  // Draft ranks (speculative/draft_group). From now on every row that runs one of the layers that `shallow`
  // has also gets K and V of all heads written there: the residual is whole on every rank, so no other is
  // asked. Null: another rank of the group does.
  virtual void mirror_kv(Transformer* shallow, KvPool* pool) = 0;
  // Of a model with first_layers: K and V of all heads of `layer` for rows whose normed input is `normed`.
  // `sequences` name another pool's units of the same pages.
  virtual void write_kv(std::int32_t layer, ConstFloatMatrix normed, std::span<const SequenceRows> sequences,
                        KvPool& pool) = 0;
  // Of a model with first_layers: what its kept slots hold, in the order of `slots`: hidden (slots, D), and K
  // and V of the first layers as DraftedRows::kv has them (as many as kv has columns for).
  virtual void give_drafted(std::span<const std::int32_t> slots, FloatMatrix hidden, FloatMatrix kv) = 0;
  // Into kept slots 0, 1, ... and this rank's heads into `pool`.
  virtual void take_drafted(const DraftedRows& rows, KvPool& pool) = 0;

  [[nodiscard]] virtual std::int32_t layers() const = 0;
  [[nodiscard]] virtual std::int32_t vocab() const = 0;
  [[nodiscard]] virtual std::int32_t local_kv_heads() const = 0;
  [[nodiscard]] virtual std::int64_t weight_bytes() const = 0;
  // Of them what lies in a file's pages still and will take as much memory of this process.
  [[nodiscard]] virtual std::int64_t weight_bytes_to_come() const = 0;
  [[nodiscard]] virtual std::string identity()
      const = 0;  // which model, however packed: policies are for one
  [[nodiscard]] virtual std::string fingerprint() const = 0;  // exactness X7, hex; the same on every rank
};

}  // namespace leadline::worker
