#pragma once
// ForkedPrompt: one text computed exactly once, questions put behind it, and each of these prompts compressed
// in many ways, each of which answers on its own: what a benchmark of prompt-end methods needs. One rank, no
// scheduler. Thread: one. Invariant: answers() and losses() leave the fork as they found it.

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
  double byte_share = 1;  // whole units and the planes of their bias, of the exact prompt's units
  double seconds = 0;     // of this thread
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

  // Forgets what there was. columns: keep the sums over all rows, which cost another pass.
  void read(std::span<const std::int32_t> text, bool columns);
  // The prompt is the text and this question (empty: the text alone). Its greedy next token, -1 for the text.
  std::int32_t ask(std::span<const std::int32_t> question);
  // A new fork of the prompt: exact (no method), or compressed; unless it `weighs`, merged slots count as
  // one.
  ForkOutcome fork(const worker::CompressionMethod* method, worker::CompressionParams params,
                   std::span<const std::uint8_t> delimiters, bool weighs = true);
  // The greedy next token behind each of `tokens` that is `wanted` (one flag each), run on the fork; else -1.
  std::vector<std::int32_t> next_tokens(std::span<const std::int32_t> tokens,
                                        std::span<const std::uint8_t> wanted);
  // Minus the log probability of each of `tokens` but the first.
  std::vector<double> losses(std::span<const std::int32_t> tokens);

  [[nodiscard]] const worker::ModelConfig& config() const { return config_; }
  [[nodiscard]] std::uint32_t prompt_tokens() const { return prompt_; }
  [[nodiscard]] double read_seconds() const { return read_seconds_; }

 private:
  // Runs tokens from where the prompt or fork stands, and gives `visit` the logits of those that are wanted.
  template <typename Visit>
  void run(std::span<const std::int32_t> tokens, const worker::TapRequest* tap,
           std::span<const std::uint8_t> wanted, const Visit& visit);
  [[nodiscard]] std::int32_t best(const float* logits) const;
  void back_to_fork();

  worker::ModelConfig config_;
  Options options_;
  std::unique_ptr<transport::Communicator> ranks_;
  std::unique_ptr<worker::Backend> backend_;
  std::unique_ptr<worker::Transformer> transformer_;
  std::unique_ptr<worker::KvPool> pool_;
  std::unique_ptr<worker::Compressor> compressor_;
  std::vector<std::uint32_t> prompt_pages_, fork_pages_, tail_pages_;
  worker::SequenceId prompt_sequence_{1};
  std::uint8_t taps_ = 0;
  std::uint64_t seed_ = 0;  // of the text's tokens
  std::uint32_t text_ = 0, prompt_ = 0, position_ = 0, slots_ = 0;
  bool forked_ = false, exact_ = true;
  double read_seconds_ = 0;
};

}  // namespace leadline::tests
