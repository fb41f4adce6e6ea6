#pragma once
// ModelReplica: the ranks of one model as threads, with the plainest paging there is, for tests and
// development tools. Not the worker: no scheduler, no prefix cache; pages are only freed with a sequence.
// Thread: one; step() runs the ranks on threads of its own and joins them.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/thread_communicator.h"
#include "worker/backend/backend.h"
#include "worker/model/model_config.h"
#include "worker/model/transformer.h"

namespace leadline::tests {

struct ReplicaOptions {
  std::string model_directory;
  std::string weights = "auto";
  worker::DType kv_dtype = worker::DType::f32;
  int ranks = 1;
  std::function<std::unique_ptr<worker::Backend>()>
      make_backend;                // empty: the CPU's, with `isa` and `threads`
  std::string isa;                 // "" = best of this machine
  int threads = 1;                 // of each rank's backend
  std::int32_t max_rows = 64;      // of one step
  std::int32_t max_positions = 0;  // 0 = the model's own, at most 4096
  std::uint32_t pages = 512;       // of 16 tokens, for all sequences
};

// Tokens that one sequence runs in a step, after all that it ran before.
struct Feed {
  std::size_t sequence = 0;
  std::vector<std::int32_t> tokens;
  bool all_logits = false;  // of every row; else of the last
  bool decode = false;      // SequenceRows::decode
};

class ModelReplica {
 public:
  static worker::Result<std::unique_ptr<ModelReplica>> start(const ReplicaOptions& options);

  // One step: rows in the order of the feeds. Logits, one row of `vocab` floats each, in the order of rows.
  std::vector<std::vector<float>> step(const std::vector<Feed>& feeds);
  // The same, with the logits at every exit layer asked for (ascending; the last layer for the model's own):
  // one entry per exit, each as step() gives them. KV is written up to the last exit.
  std::vector<std::vector<std::vector<float>>> step_at_exits(const std::vector<Feed>& feeds,
                                                             const std::vector<std::int32_t>& exits);

  // Feeds `tokens` in steps of `chunk` rows; logits of all rows, or of the last only.
  std::vector<std::vector<float>> run(std::size_t sequence, const std::vector<std::int32_t>& tokens,
                                      std::int32_t chunk, bool all_logits);
  void forget(std::size_t sequence);  // frees its pages
  // KV of one page of a sequence as it lies on rank 0: units (layers, local KV heads) end to end.
  [[nodiscard]] std::vector<std::byte> read_page(std::size_t sequence, std::size_t page);
  [[nodiscard]] const worker::KvPool& pool(int rank = 0) const {
    return *ranks_[static_cast<std::size_t>(rank)].pool;
  }

  [[nodiscard]] const worker::ModelConfig& config() const { return config_; }
  [[nodiscard]] std::string fingerprint(int rank = 0) const {
    return ranks_[static_cast<std::size_t>(rank)].model->fingerprint();
  }
  [[nodiscard]] std::int64_t weight_bytes(int rank) const {
    return ranks_[static_cast<std::size_t>(rank)].model->weight_bytes();
  }
  [[nodiscard]] std::uint64_t progress_reports() const { return progress_reports_; }

 private:
  struct Rank {
    std::unique_ptr<transport::Communicator> communicator;
    std::unique_ptr<worker::Backend> backend;
    std::unique_ptr<worker::KvPool> pool;
    std::unique_ptr<worker::Transformer> model;
  };
  struct Sequence {
    std::vector<std::uint32_t> pages;
    std::int32_t length = 0;
  };
  worker::Result<void> start_rank(const ReplicaOptions& options, Rank& rank);
  std::vector<std::vector<std::vector<float>>> step_rank(Rank& rank, const std::vector<Feed>& feeds,
                                                         const std::vector<std::int32_t>& exits);

  worker::ModelConfig config_;
  std::vector<Rank> ranks_;
  std::vector<Sequence> sequences_;
  std::vector<std::uint32_t> free_pages_;
  std::uint64_t progress_reports_ = 0;
};

// The index of the largest value; the smaller index among equals.
std::int32_t argmax(const std::vector<float>& logits);

}  // namespace leadline::tests
