#pragma once
// ForkedPrompt: one prompt computed exactly once, then compressed in many ways, each of which answers on its
// own: what a benchmark of prompt-end methods needs. One rank, no scheduler. Thread: one.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/compression/compressor.h"
#include "worker/model/transformer.h"

namespace leadline::tests {

struct ForkOutcome {
  double slot_share = 1;  // slots kept of those there were
  double byte_share = 1;  // whole units, of the exact prompt's
  double seconds = 0;
};

class ForkedPrompt {
 public:
  struct Options {
    std::string model_directory;
    worker::DType kv_dtype = worker::DType::bf16;
    std::uint32_t max_tokens = 4096;  // of a prompt and what follows
    std::uint32_t chunk = 512;
    int threads = 1;
  };
  static worker::Result<std::unique_ptr<ForkedPrompt>> open(const Options& options);

  // Forgets what there was. The greedy next token. columns: keep the sums over all rows, which cost another
  // pass.
  std::int32_t prefill(std::span<const std::int32_t> tokens, bool columns);
  // A new fork of the prompt: exact (no method), or compressed.
  ForkOutcome fork(const worker::CompressionMethod* method, worker::CompressionParams params,
                   std::span<const std::uint8_t> delimiters);
  // Runs tokens on the fork; the greedy next token, and per token the log probability of the one after it
  // within `tokens` if asked for.
  std::int32_t feed(std::span<const std::int32_t> tokens, std::vector<double>* logprobs = nullptr);

  [[nodiscard]] const worker::ModelConfig& config() const { return config_; }
  [[nodiscard]] double prefill_seconds() const { return prefill_seconds_; }

 private:
  std::int32_t run(std::span<const std::int32_t> tokens, bool tap, std::vector<double>* logprobs);

  worker::ModelConfig config_;
  Options options_;
  std::unique_ptr<transport::Communicator> ranks_;
  std::unique_ptr<worker::Backend> backend_;
  std::unique_ptr<worker::Transformer> transformer_;
  std::unique_ptr<worker::KvPool> pool_;
  std::unique_ptr<worker::Compressor> compressor_;
  std::vector<std::uint32_t> prompt_pages_, fork_pages_, tail_pages_;
  std::uint32_t prompt_ = 0, position_ = 0, slots_ = 0;
  bool forked_ = false, exact_ = true;
  double prefill_seconds_ = 0;
};

}  // namespace leadline::tests
