#pragma once
// PackedLoad: one rank's weights, from its packed file when that is of this checkpoint, else from the
// checkpoint, and then the file is written. The order of the steps only; packed_cache has the parts. Thread:
// the loading thread; used once, within a load.

#include <memory>
#include <string>

#include "worker/model/packed_cache.h"
#include "worker/model/transformer.h"

namespace leadline::worker {

class PackedLoad {
 public:
  // Everything outlives this.
  PackedLoad(const WeightFile& file, const ModelConfig& config, const ShardPlan& plan, DType format,
             Backend& backend, const TransformerOptions& options);

  // What the ranks may take for the checkpoint's digests if all know them; none without a packed file.
  [[nodiscard]] CheckpointDigests known_digests() const;
  Result<Weights> load(const CheckpointDigests& digests);
  // After load: writes what was packed, in the background, until the writer goes. Null: nothing to write.
  [[nodiscard]] std::unique_ptr<PackedWriter> start_writing(const Weights& weights,
                                                            const CheckpointDigests& digests) const;
  // After load: moves what lies in the file's pages into memory. Null: nothing does.
  [[nodiscard]] std::unique_ptr<PackedMover> start_moving() const;

 private:
  void say(const std::string& message) const;
  [[nodiscard]] LoadLog log() const;

  const WeightFile& file_;
  const ModelConfig& config_;
  const ShardPlan& plan_;
  Weights::LoadOptions load_;
  Backend& backend_;
  const TransformerOptions& options_;
  PackedKey key_;
  std::string path_;  // "": nothing is kept
  std::unique_ptr<PackedCache> cache_;
  bool from_cache_ = false;
};

}  // namespace leadline::worker
